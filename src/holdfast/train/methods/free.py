"""Free adversarial training: one backward pass serves the weights and the pictures, several times on each batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.errors import OptionError
from holdfast.losses import Objective
from holdfast.options import option
from holdfast.threats import AnyThreat
from holdfast.train.methods.method import check_straight
from holdfast.train.step import Step


@dataclass(frozen=True, kw_only=True)
class Free:
    """Step `replays` times on each batch; between the steps the attack moves the pictures by the gradient just taken.

    The attack is walked one step a replay, however many it would take by itself: PGD(steps=1, step_size=1) is the
    source's x' <- project(x' + eps sign(gradient)). What it climbs is what the weights descend: the loss in training
    mode, penalties included. The source carries the change over to the next batch, whose pictures are others; here
    each batch begins at the attack's own start, so that a run can be killed between any two batches and noise belongs
    to its picture. By Wong, Rice & Kolter 2020, arXiv:2001.03994, a start away from the picture is what matters.
    An epoch steps `replays` times on every picture, so a run should have as many times fewer of them. Loss and right
    answers on record are those of the last replay.
    Raises: `OptionError` for fewer than 2 replays.
    Cost: a forward and a backward pass a replay.
    Source: Shafahi et al. 2019, arXiv:1904.12843, algorithm 1; 8 replays in its tables on CIFAR-10.
    """

    replays: int = option(8, "steps in a row on each batch")
    name: ClassVar[str] = "free"
    own_loss: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the number."""
        if isinstance(self.replays, bool) or not isinstance(self.replays, int) or self.replays < 2:
            raise OptionError(
                f"Free: replays={self.replays!r}; allowed: whole numbers >= 2. One would train on the start alone."
            )

    def check(self, attack: Attack, threats: Sequence[AnyThreat]) -> None:
        """Raise for an attack that cannot be walked, and for several threats."""
        check_straight(self.name, attack, threats)
        if len(threats) > 1:
            raise OptionError(
                f"free: {len(threats)} threats; allowed: one, as a replay takes one gradient. Use the method hardened."
            )

    def climbed(self, model: nn.Module, x: Tensor) -> Objective | None:
        """Never asked for: the steps of the weights leave the gradients."""
        return None

    def __call__(self, step: Step) -> Tensor:
        """(N,), the losses at the pictures as they have been moved."""
        return step.losses

"""The loss at the adversarial pictures, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from holdfast.attacks import Attack
from holdfast.losses import Objective
from holdfast.threats import AnyThreat
from holdfast.train.step import Step


@dataclass(frozen=True, kw_only=True)
class Hardened:
    """Train on what the attack makes of each picture, in the place of the picture.

    By Danskin's theorem the gradient of the inner maximum is that at the maximiser; an attack only comes near it.
    Cost: the attack's passes, then a forward and a backward pass.
    Source: Madry et al. 2018, arXiv:1706.06083, sec. 2.1.
    """

    name: ClassVar[str] = "hardened"
    replays: ClassVar[int] = 1
    own_loss: ClassVar[bool] = False

    def check(self, attack: Attack, threats: Sequence[AnyThreat]) -> None:
        """Any attack will do."""

    def climbed(self, model: nn.Module, x: Tensor) -> Objective | None:
        """The attack's own loss."""
        return None

    def __call__(self, step: Step) -> Tensor:
        """(N,), the losses at the adversarial pictures."""
        return step.losses

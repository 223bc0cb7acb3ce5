"""The interface of a method of adversarial training."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from holdfast.attacks import Attack, straight
from holdfast.errors import OptionError
from holdfast.losses import Objective
from holdfast.threats import AnyThreat
from holdfast.train.step import Step


class Method(Protocol):
    """What adversarial pictures are made to climb, and the loss that is taken at them: a frozen record of options."""

    @property
    def name(self) -> str:
        """As recipes call it."""
        ...

    @property
    def replays(self) -> int:
        """Steps of the weights in a row on a batch. Above 1 the attack goes on by the gradients that they leave."""
        ...

    @property
    def own_loss(self) -> bool:
        """Whether it takes a loss of its own in the place of the recipe's."""
        ...

    def check(self, attack: Attack, threats: Sequence[AnyThreat]) -> None:
        """Raise `OptionError` for an attack or threats that it cannot train against."""
        ...

    def climbed(self, model: nn.Module, x: Tensor) -> Objective | None:
        """What the inner attack climbs in the place of its own loss, given the batch; None: its own.

        A method that asks the model borrows it, for evaluation mode and no gradients.
        """
        ...

    def __call__(self, step: Step) -> Tensor:
        """(N,), the loss of each picture, differentiable in the weights; `step.seen` is adversarial."""
        ...


def check_straight(method: str, attack: Attack, threats: Sequence[AnyThreat]) -> None:
    """Raise for an attack that cannot be told what to climb, or be given gradients from elsewhere."""
    for threat in threats:
        if not straight(attack, threat):
            raise OptionError(
                f"{method}: attack {attack.name!r} in threat {threat.name!r}; allowed: attacks by a fixed number "
                "of gradients (fgsm, i-fgsm, mi-fgsm, pgd with restarts=1, n-fgsm) in threats on pixels. "
                "Pass PGD(steps=10, step_size=0.25)."
            )

"""TRADES: the usual loss at the pictures, and how far the answer moves within the threat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.attacks import Attack
from holdfast.errors import OptionError
from holdfast.losses import Goal, Objective
from holdfast.losses.formulas import kl_divergence
from holdfast.options import option
from holdfast.threats import AnyThreat
from holdfast.train.methods.method import check_straight
from holdfast.train.step import Step


@dataclass(frozen=True, kw_only=True)
class TRADES:
    """The recipe's loss at x, plus `beta` times KL(f(x) || f(x')), where x' climbs that divergence and no label.

    The divergence and its gradient are 0 at x itself, so the attack must begin elsewhere: at its random start, uniform
    in the threat, where the source adds Gaussian noise of deviation 0.001. The answer at x that the attack climbs away
    from is asked for once, in evaluation mode; that of the loss in training mode, with a gradient through both sides of
    the divergence, as in the source's code. Pictures that the mix leaves as they are add nothing to the second term.
    Raises: `OptionError` for beta below 0.
    Cost: a forward pass and the attack's passes, then two forward and two backward passes.
    Source: Zhang et al. 2019, arXiv:1901.08573, eq. 5 and algorithm 1; beta is the 1/lambda there, 6 in its tables.
    """

    beta: float = option(6.0, "weight of the divergence")
    name: ClassVar[str] = "trades"
    replays: ClassVar[int] = 1
    own_loss: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the weight."""
        if not 0 <= self.beta < float("inf"):
            raise OptionError(f"TRADES: beta={self.beta!r}; allowed: finite numbers >= 0. The source has 6.")

    def check(self, attack: Attack, threats: Sequence[AnyThreat]) -> None:
        """Raise for an attack that begins at the picture, where there is nothing to climb."""
        check_straight(self.name, attack, threats)
        if not getattr(attack, "random_start", False):
            raise OptionError(
                f"trades: attack {attack.name!r} begins at the picture, where the divergence has no slope; allowed: "
                "attacks with a random start, such as PGD(steps=10, step_size=0.25)."
            )

    def climbed(self, model: nn.Module, x: Tensor) -> Objective | None:
        """The divergence from the answer at the pictures."""
        with borrow(model) as lent, torch.no_grad():
            clean = lent(x)

        def away(logits: Tensor, goal: Goal) -> Tensor:
            return kl_divergence(clean, logits)

        return away

    def __call__(self, step: Step) -> Tensor:
        """(N,), both terms."""
        clean = step.ask(step.x)
        return step.loss(clean, step.labels) + self.beta * kl_divergence(clean, step.logits)

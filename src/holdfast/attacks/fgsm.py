"""The fast gradient sign method: one step to the corner."""

from dataclasses import dataclass, field
from typing import ClassVar

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName
from holdfast.losses import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class FGSM:
    """Move once, by the whole radius, along the steepest direction of the loss at the picture.

    In Linf this is x + eps sign(gradient); in other norms the same step along their steepest direction.
    Cost: 2 forward passes and 1 backward pass a picture, the second forward pass being the look at the result.
    Source: Goodfellow et al. 2015, arXiv:1412.6572, sec. 4.
    """

    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "fgsm"
    rounds: ClassVar[int] = 2
    straight: ClassVar[bool] = True

    def start(self, case: Case) -> tuple[None, Query]:
        """Ask at the picture itself."""
        return None, Query(case.x, gradient_of=OBJECTIVES[self.loss])

    def step(self, case: Case, state: None, answer: Gradient) -> tuple[None, Query]:
        """Go the whole way."""
        x_adv = case.ascend(case.x, case.steepest(answer.gradient, case.x), 1.0)
        return None, Query(x_adv, gradient_of=OBJECTIVES[self.loss])

"""Iterated FGSM: steps of eps / T from the picture itself, without a random start."""

from dataclasses import dataclass, field
from typing import ClassVar

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least
from holdfast.losses import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class IFGSM:
    """Take `steps` steps of eps / `steps` each along the steepest direction, starting at the picture.

    The steps add up to the radius, so the point reaches the edge of the threat only if they all agree.
    Cost: `steps` forward and backward passes a picture and one forward pass to look at the last point.
    Source: Kurakin et al. 2017, arXiv:1607.02533, sec. 2.2, with the step alpha = eps / T.
    """

    steps: int = field(default=10, metadata={"help": "gradient evaluations a picture; each step is eps / steps"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "i-fgsm"
    straight: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[None, Query]:
        """Begin at the picture."""
        return None, Query(case.x, gradient_of=OBJECTIVES[self.loss])

    def step(self, case: Case, state: None, answer: Gradient) -> tuple[None, Query]:
        """One step of eps / steps uphill."""
        x_adv = case.ascend(answer.points, case.steepest(answer.gradient, answer.points), 1 / self.steps)
        return None, Query(x_adv, gradient_of=OBJECTIVES[self.loss])

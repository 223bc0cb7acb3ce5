"""Projected gradient descent on the loss's negative: steps along the steepest direction, back into the threat."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least, positive
from holdfast.losses import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Ascend the goal's loss in steps, projecting back into the threat after each.

    Cost: `steps` forward and backward passes a lane and one forward pass to look at the last point.
    Source: Madry et al. 2018, arXiv:1706.06083, sec. 2.1; here with steps in units of the radius, and keeping the
    best point seen instead of the last.
    """

    steps: int = field(default=40, metadata={"help": "gradient evaluations a picture and restart"})
    step_size: float = field(default=0.1, metadata={"help": "length of a step, in units of eps"})
    random_start: bool = field(default=True, metadata={"help": "start at a random point inside the threat"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "pgd"

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "restarts")
        positive(self, "step_size")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Tensor, Query]:
        """Begin at a random point inside the threat, or at the picture."""
        x_adv = case.sample() if self.random_start else case.x
        return x_adv, Query(x_adv, gradient_of=OBJECTIVES[self.loss])

    def step(self, case: Case, x_adv: Tensor, answer: Gradient) -> tuple[Tensor, Query]:
        """One step uphill."""
        x_adv = case.ascend(x_adv, case.steepest(answer.gradient, x_adv), self.step_size)
        return x_adv, Query(x_adv, gradient_of=OBJECTIVES[self.loss])

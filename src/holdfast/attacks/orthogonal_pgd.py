"""PGD on a classifier and its detector: steps for the one that do not undo what was reached with the other."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, positive
from holdfast.lanes import column
from holdfast.losses.evasion import MISLEAD, SLIP
from holdfast.options import one_of

TINY = 1e-12  # squared length of a gradient that is none


@dataclass(frozen=True, kw_only=True)
class OrthogonalPGD:
    """Ascend the classifier's margin where it is not misled yet, else the detector's, each step for one of them alone.

    `selective` follows that gradient as it is; `orthogonal` takes out its part along the other one, so that a step for
    one changes the other only to second order: in L2, for in another norm the step is the steepest one along what is
    left, and keeps that only roughly. Where both gradients point the same way nothing would be left: then it follows
    the gradient as it is. A sum of both losses, which this avoids, stalls where they pull against each other.
    Cost: `steps` forward and twice as many backward passes a lane, and one forward pass to look at the last point.
    Source: Bryniarski et al. 2021, arXiv:2106.15023, sec. 4 (both); here with steps in units of the radius.
    """

    steps: int = field(default=100, metadata={"help": "steps a picture and restart"})
    step_size: float = field(default=0.05, metadata={"help": "length of a step, in units of eps"})
    projection: Literal["orthogonal", "selective"] = field(
        default="orthogonal", metadata={"help": "what is done to the gradient that a step follows"}
    )
    random_start: bool = field(default=True, metadata={"help": "start at a random point inside the threat"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "orthogonal-pgd"
    guarded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "restarts")
        positive(self, "step_size")
        one_of(self, "projection")

    @property
    def rounds(self) -> int:
        """`steps` answers and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[None, Query]:
        """Begin at a random point inside the threat, or at the picture."""
        return None, Query(case.sample() if self.random_start else case.x, gradient_of=(MISLEAD, SLIP))

    def step(self, case: Case, state: None, answer: Gradient) -> tuple[None, Query]:
        """One step for the one that is behind."""
        way = case.steepest(uphill(case, answer, self.projection), answer.points)
        return None, Query(case.ascend(answer.points, way, self.step_size), gradient_of=(MISLEAD, SLIP))


def uphill(case: Case, answer: Gradient, projection: str) -> Tensor:
    """Where a step goes (L, ...): up the classifier's margin where it is not misled yet, else the detector's.

    `answer` is of `MISLEAD` and `SLIP`; the way of the other is taken out, or not where `projection` is "selective".
    """
    misled = column(answer.losses[0] > case.goal.confidence, answer.points)
    ahead, other = answer.gradients
    way = torch.where(misled, other, ahead)
    return way if projection == "selective" else apart(way, torch.where(misled, ahead, other))


def apart(gradient: Tensor, other: Tensor) -> Tensor:
    """`gradient` (L, ...) without its part along `other`; as it is where nothing would be left, or nothing is there."""
    a, b = gradient.flatten(1), other.flatten(1)
    square = b.square().sum(1)
    share = torch.where(square > TINY, (a * b).sum(1) / square.clamp_min(TINY), 0.0)
    rest = a - share[:, None] * b
    left = rest.square().sum(1) > 1e-6 * a.square().sum(1)
    return torch.where(left[:, None], rest, a).view_as(gradient)

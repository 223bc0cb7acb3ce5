"""DeepFool: onto the nearest linearised boundary, a little past it, until the class has changed."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Jacobian, Query, Scores
from holdfast.attacks.apgd_t import likeliest
from holdfast.attacks.case import Case
from holdfast.attacks.fab import leads, nearest
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, not_negative
from holdfast.lanes import column
from holdfast.losses.objectives import margin

NEAR = 0.1  # of the first gap: from here on a step takes the box into account
ROUNDING = 4  # in units of the float type's own: closer to a boundary than this, rounding decides the class


@dataclass(frozen=True, kw_only=True)
class DeepFool:
    """Step onto the nearest class's linearised boundary and `overshoot` past it, again until the goal is reached.

    A boundary is nearest by the difference of logits over the dual norm of its gradient, as published. In L2 and the
    largest-value norm a step is the published one, cut to the box, which gives the points x + (1 + overshoot) * (sum of
    the steps) where no side of the box is met. In L1, ours: along the threat's steepest direction. Ours too: steps past
    a boundary that is near by now are the smallest within the box (else the last ones come nearer and nearer); a
    point that a boundary goes through is moved by what rounding might hide; a target's boundary is that between it and
    the class that leads. No step follows the first success, so that changes are small, but not the smallest.
    Cost: for each step two forward passes and a backward pass for each of the candidates, or one with a target; the
    successful point itself is only looked at.
    Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, arXiv:1511.04599, algorithm 2 and sec. 3.3; the number of
    candidates from its code, which follows the ten likeliest classes, the label among them.
    """

    steps: int = field(default=50, metadata={"help": "the most steps to the boundary a picture"})
    candidates: int | None = field(
        default=9, metadata={"help": "how many of the likeliest wrong classes of the picture are considered; none: all"}
    )
    overshoot: float = field(default=0.02, metadata={"help": "how far past the boundary a step goes, by its length"})
    access: ClassVar[Access] = Access.JACOBIAN
    name: ClassVar[str] = "deepfool"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        if self.candidates is not None:
            at_least(self, 1, "candidates")
        not_negative(self, "overshoot")

    @property
    def rounds(self) -> int:
        """A question a step and a look at where it leads."""
        return 2 * self.steps

    def start(self, case: Case) -> tuple[Tensor, Query]:
        """Begin at the picture, with its candidates (L, M)."""
        classes = candidates(case, self.candidates)
        return classes, leads(case, case.x, classes)

    def step(self, case: Case, classes: Tensor, answer: Scores) -> tuple[Tensor, Query]:
        """One step past the nearest boundary; or, after a look at where it led, the next question or the end."""
        if isinstance(answer, Jacobian | Gradient):
            return classes, Query(past_nearest(case, answer, classes, self.overshoot))
        return classes, replace(leads(case, answer.points, classes), done=answer.reached)


def candidates(case: Case, most: int | None) -> Tensor:
    """(L, M) int64: the `most` likeliest wrong classes of the unchanged pictures, or all."""
    assert case.logits is not None  # shown to all that may see scores
    return likeliest(case.logits, replace(case.goal, target=None), most or case.logits.shape[1])


def past_nearest(case: Case, answer: Jacobian | Gradient, classes: Tensor, overshoot: float) -> Tensor:
    """The points past the nearest linearised boundary; cut to the box, as published, as long as that is far off.

    Cut steps come nearer and nearer to a boundary and seldom cross it, so the last ones take the box into account.
    """
    ahead, normal = (usable(part) for part in nearest(case, answer, classes))
    x, gap = answer.points, (1 + overshoot) * (-ahead).clamp_min(0) + hidden(answer, normal)
    way = case.threat.steepest(normal, x)
    gain = (way * normal).flatten(1).sum(1).clamp_min(torch.finfo(x.dtype).tiny)
    cut = way.mul_(column(gap / gain, x)).add_(x)
    near = gap < NEAR * first_gap(case)
    within = case.threat.reach(x, normal, gap).add_(x)
    return torch.where(column(near, x), within, cut).clamp_(case.threat.low, case.threat.high)


def hidden(answer: Jacobian | Gradient, normal: Tensor) -> Tensor:
    """(L,) how much of a lead the rounding of logits and pictures may hide."""
    unit = ROUNDING * torch.finfo(normal.dtype).eps
    return unit * (answer.logits.abs().amax(1).nan_to_num() + normal.flatten(1).abs().sum(1))


def first_gap(case: Case) -> Tensor:
    """(L,) how far the goal was off at the unchanged picture, by its logits."""
    assert case.logits is not None
    return case.goal.confidence - margin(case.logits, case.goal)

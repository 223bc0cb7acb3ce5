"""Sigma-zero: few changed values, by a smooth count of them and a threshold below which a change is taken back."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, not_negative, positive
from holdfast.attacks.penalty import Adam
from holdfast.lanes import column
from holdfast.losses.objectives import margin
from holdfast.threats.threat import finite

LAST_STEP = 0.1  # of the first, where the cosine ends


@dataclass(frozen=True)
class Descent:
    """Where a lane is, one row a lane."""

    adam: Adam
    threshold: Tensor  # (L,) changes below it are taken back, in widths of the box


@dataclass(frozen=True, kw_only=True)
class SigmaZero:
    """Descend the margin, where the goal is not reached, plus a smooth count of changed values, by Adam.

    A change d counts d^2 / (d^2 + sigma), over all values of the picture. Gradients are divided by their largest value.
    After a step, changes below a threshold are taken back; it rises by `threshold_step` times the step size at a
    success and falls by as much elsewhere. Here the count is in widths of the box, a goal with a target or a confidence
    is served as well, and the smallest success seen is kept. Each channel of a pixel counts by itself. A hundred steps,
    as in the published code, cost a tenth and find changes that are a little larger.
    Cost: `steps` forward and backward passes a lane and a forward pass to look at the last point.
    Source: Cina et al. 2024, arXiv:2402.01879, algorithm 1 with its constants and 1000 steps.
    """

    steps: int = field(default=1000, metadata={"help": "gradient evaluations a picture"})
    step_size: float = field(default=1.0, metadata={"help": "the first step, in widths of the box"})
    sigma: float = field(default=1e-3, metadata={"help": "how smooth the count of changes is: smaller is sharper"})
    threshold: float = field(default=0.3, metadata={"help": "changes below it are taken back at first"})
    threshold_step: float = field(default=0.01, metadata={"help": "how fast that threshold moves, in steps"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "sigma-zero"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l0",)

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        positive(self, "step_size", "sigma")
        not_negative(self, "threshold", "threshold_step")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Descent, Query]:
        """Begin at the picture."""
        threshold = torch.full_like(case.x.flatten(1)[:, 0], self.threshold)
        return Descent(Adam.fresh(case.x), threshold), Query(case.x, gradient_of=margin)

    def step(self, case: Case, at: Descent, answer: Gradient) -> tuple[Descent, Query]:
        """A step of Adam, cut to the box, and small changes taken back."""
        low, high, reached = case.threat.low, case.threat.high, answer.reached
        uphill = self.uphill(answer.points - case.x, answer.gradient, reached, high - low)
        adam, move = at.adam.descend(uphill.neg_(), self.step_at(case.round - 1).to(uphill))
        x_adv = move.mul_(high - low).add_(answer.points).clamp_(low, high)
        rise = self.threshold_step * self.step_at(case.round).to(x_adv)
        threshold = (at.threshold + torch.where(reached, rise, -rise)).clamp_(0, 1)
        small = (x_adv - case.x).abs_() < column(threshold * (high - low), x_adv)
        x_adv = torch.where(small, case.x, x_adv)
        return Descent(adam, threshold), Query(x_adv, gradient_of=margin)

    def uphill(self, delta: Tensor, gradient: Tensor, reached: Tensor, width: float) -> Tensor:
        """Minus the gradient of what is descended, its largest value 1; `delta` is used up."""
        delta = delta.div_(width)
        count = delta.square().add_(self.sigma).square_()
        count = delta.div_(count).mul_(2 * self.sigma / delta[0].numel())
        short = (~reached).to(delta).mul_(width)
        uphill = finite(gradient).mul_(column(short, delta)).sub_(count)
        largest = uphill.flatten(1).abs().amax(1).clamp_min_(torch.finfo(delta.dtype).tiny)
        return uphill.div_(column(largest, delta))

    def step_at(self, t: Tensor) -> Tensor:
        """(L,) float64: the step size after `t` steps, along half a cosine down to a tenth."""
        fall = (1 + (t.double() * (math.pi / self.steps)).cos()) / 2
        return self.step_size * (LAST_STEP + (1 - LAST_STEP) * fall)

"""Auto-PGD: ascent with momentum that halves its own step where progress stalls, and needs no step size."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks import apgd_l1
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least
from holdfast.attacks.stages import Stages, any_lane
from holdfast.lanes import choose, column
from holdfast.losses import OBJECTIVES

MOMENTUM = 0.75  # share of the new step in a move; the rest is the last move's
RISING = 0.75  # a period in which no more steps than this share raised the loss has stalled


@dataclass(frozen=True, kw_only=True)
class APGD:
    """Ascend the loss from the edge of the ball by steps that begin at twice the radius, keeping the best point.

    At checkpoints, ever closer together, the step of a lane is halved and the lane set back to its best point when
    too few steps since the last checkpoint raised the loss, or when neither the step nor the best loss has changed
    since. In L1 the steps are sparse instead, with a sparsity that follows the best point's
    (`holdfast.attacks.apgd_l1`). `larger_radii` spends three tenths of the steps each within 3 and 2 times the
    radius, beginning the next stage at the best point brought back inside.
    Cost: `steps` forward and backward passes a lane and a forward pass to look at the last point; with
    `larger_radii` two of each more.
    Source: Croce & Hein 2020, arXiv:2003.01690, algorithm 1, with the constants of sec. 3 (rho = 0.75, checkpoints at
    0.22, 0.41, 0.57, 0.70, ... of the steps); L1 and the larger radii: Croce & Hein 2021, arXiv:2103.01208. Where the
    reference code differs from the paper (the comparison of rises is not strict), the code is followed.
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations a picture and restart"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    larger_radii: bool = field(default=False, metadata={"help": "begin within 3 and 2 times the radius"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "apgd"

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "restarts")

    @property
    def stages(self) -> Stages:
        """The radii, in units of eps, and the steps spent in each."""
        if not self.larger_radii:
            return Stages((1.0,), (self.steps,))
        early = int(0.3 * self.steps)
        return Stages((3.0, 2.0, 1.0), (early, early, self.steps - 2 * early))

    @property
    def rounds(self) -> int:
        """A question at the beginning of each stage and one after each step."""
        return self.stages.rounds

    @property
    def wanders(self) -> bool:
        """Points of the larger radii must not count."""
        return self.larger_radii

    def start(self, case: Case) -> "tuple[Climb | apgd_l1.Sparse, Query]":
        """Begin at a random point on the edge of the first radius."""
        wide = self.stages.within(case, case.round)
        x_adv = wide.edge()
        at = apgd_l1.begin(wide, x_adv, known=False) if case.threat.sparse else begin(x_adv)
        return at, self.question(case, x_adv)

    def step(
        self, case: Case, at: "Climb | apgd_l1.Sparse", answer: Gradient
    ) -> "tuple[Climb | apgd_l1.Sparse, Query]":
        """One step uphill, or the first point of the next stage."""
        stages, asked = self.stages, case.round - 1
        wide = stages.within(case, asked)
        on: Climb | apgd_l1.Sparse
        if isinstance(at, apgd_l1.Sparse):
            on = apgd_l1.climb(wide, at, answer, stages.look_up(asked, apgd_l1.periods))
        else:
            on = climb(wide, at, answer, stages.look_up(asked, periods), moved=stages.place(asked) > 0)
        if self.larger_radii and any_lane(over := stages.left(asked) == 0):
            closer = stages.within(case, case.round)
            x_adv = closer.project(on.best)
            fresh = apgd_l1.begin(closer, x_adv, known=True) if isinstance(on, apgd_l1.Sparse) else begin(x_adv)
            on = choose(over, fresh, on)
        return on, self.question(case, on.x_adv)

    def question(self, case: Case, x_adv: Tensor) -> Query:
        """The loss's gradient, of the lane's own goal."""
        return Query(x_adv, gradient_of=OBJECTIVES[self.loss])


@dataclass(frozen=True)
class Climb:
    """Where a lane is, one row a lane; losses are -inf before anything was seen."""

    x_adv: Tensor  # the point asked about
    last: Tensor  # the point before it
    best: Tensor  # the point of the highest loss
    gradient: Tensor  # there
    loss: Tensor  # there, (L,)
    before: Tensor  # (L,) loss at the last answer
    share: Tensor  # (L,) the step, in units of the radius
    rises: Tensor  # (L,) int64, steps since the checkpoint that raised the loss
    loss_then: Tensor  # (L,) highest loss at the checkpoint
    halved: Tensor  # (L,) bool, whether the step was halved there


def begin(x_adv: Tensor) -> Climb:
    """Before the first answer."""
    lowest = torch.full_like(x_adv.flatten(1)[:, 0], -torch.inf)
    no = torch.zeros_like(lowest, dtype=torch.int64)
    return Climb(
        x_adv,
        last=x_adv,
        best=x_adv,
        gradient=torch.zeros_like(x_adv),
        loss=lowest,
        before=torch.full_like(lowest, torch.inf),
        share=torch.full_like(lowest, 2.0),
        rises=no,
        loss_then=lowest,
        halved=no.bool(),
    )


def climb(case: Case, at: Climb, answer: Gradient, period: Tensor, moved: Tensor) -> Climb:
    """One step. `period` (L,): the steps of the period that ends here, or 0; `moved` (L,): whether steps led here."""
    loss = answer.loss.nan_to_num(nan=-torch.inf)
    better = loss > at.loss
    best, gradient = choose(better, (at.x_adv, answer.gradient), (at.best, at.gradient))
    highest = torch.maximum(loss, at.loss)
    rises = at.rises + (loss > at.before)
    due = period > 0
    stall = due & ((rises <= RISING * period) | (~at.halved & (at.loss_then >= highest)))
    share = torch.where(stall, at.share / 2, at.share)
    x, uphill = at.x_adv, answer.gradient
    if any_lane(stall):
        x, uphill = choose(stall, (best, gradient), (x, uphill))
    # The first step has no move before it to keep part of.
    fresh = column(torch.where(moved, MOMENTUM, 1.0).to(x), x)
    move = case.ascend(x, case.steepest(uphill, x), share).sub_(x).mul_(fresh)
    x_adv = case.project(move.add_(x).add_((x - at.last).mul_(1 - fresh)))
    return Climb(
        x_adv,
        last=x,
        best=best,
        gradient=gradient,
        loss=highest,
        before=loss,
        share=share,
        rises=torch.where(due, 0, rises),
        loss_then=torch.where(due, highest, at.loss_then),
        halved=torch.where(due, stall, at.halved),
    )


def periods(steps: int) -> list[int]:
    """For 0 to `steps` steps taken: how many steps the period had that ends there, or 0.

    Periods shrink from 22 % of the steps by 3 % each to 6 %, rounded down, and are never empty.

    >>> [place for place, period in enumerate(periods(100)) if period]
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    found = [0] * (steps + 1)
    period, end = max(int(0.22 * steps), 1), 0
    while end + period <= steps:
        end += period
        found[end] = period
        period = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return found

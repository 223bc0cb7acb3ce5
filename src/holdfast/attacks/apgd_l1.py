"""The L1 form of Auto-PGD: sparse steps whose sparsity follows that of the best point."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from holdfast.access import Gradient
from holdfast.attacks.case import Case
from holdfast.lanes import choose
from holdfast.threats import L1

FIRST = 0.2  # share of the values that the first steps change
DENSER = 1.5  # the best point has this many times the values that the next steps change
FEWER = 0.95  # a best point with less than this share of the values it had has become sparser
SHRINK = 1.5  # else the step is divided by this
SMALLEST = 0.1  # of the first step


@dataclass(frozen=True)
class Sparse:
    """Where a lane is, one row a lane."""

    x_adv: Tensor  # the point asked about
    best: Tensor  # the point of the highest loss
    gradient: Tensor  # there
    loss: Tensor  # there, (L,); -inf before anything was seen
    share: Tensor  # (L,) the step, in units of the radius
    spread: Tensor  # (L,) share of the values that a step changes
    values_then: Tensor  # (L,) how many values the best point had changed at the checkpoint


def begin(case: Case, x_adv: Tensor, known: bool) -> Sparse:
    """Before the first answer; `known` says that x_adv was found by an earlier stage, and its sparsity counts."""
    lowest = torch.full_like(x_adv.flatten(1)[:, 0], -torch.inf)
    size = x_adv[0].numel()
    values = changed(case, x_adv) if known else torch.full_like(lowest, size)
    spread = values / size / DENSER if known else torch.full_like(lowest, FIRST)
    return Sparse(x_adv, x_adv, torch.zeros_like(x_adv), lowest, torch.ones_like(lowest), spread, values)


def climb(case: Case, at: Sparse, answer: Gradient, period: Tensor) -> Sparse:
    """One step; `period` (L,) is above 0 at a checkpoint."""
    loss = answer.loss.nan_to_num(nan=-torch.inf)
    better = loss > at.loss
    best, gradient = choose(better, (at.x_adv, answer.gradient), (at.best, at.gradient))
    due = period > 0
    values = changed(case, best)
    sparser = values < FEWER * at.values_then
    spread = torch.where(due, values / best[0].numel() / DENSER, at.spread)
    share = torch.where(sparser, 1.0, (at.share / SHRINK).clamp_min(SMALLEST))
    share = torch.where(due, share, at.share)
    x, uphill = choose(due & sparser, (best, gradient), (at.x_adv, answer.gradient))
    # Like the published attack's, a step minds neither the box nor the radius; the projection does.
    direction = replace(cast(L1, case.threat), spread=spread).steepest(uphill)
    return Sparse(
        case.ascend(x, direction, share),
        best=best,
        gradient=gradient,
        loss=torch.maximum(loss, at.loss),
        share=share,
        spread=spread,
        values_then=torch.where(due, values, at.values_then),
    )


def changed(case: Case, x_adv: Tensor) -> Tensor:
    """(L,) how many values differ from the picture's."""
    return (x_adv != case.x).flatten(1).sum(1).to(x_adv.dtype)


def periods(steps: int) -> list[int]:
    """For 0 to `steps` steps taken: the length of the period, 4 % of the steps, where one ends; 0 elsewhere."""
    period = max(int(0.04 * steps), 1)
    return [period if place and place % period == 0 else 0 for place in range(steps + 1)]

"""Variance tuning: what the gradients nearby say more than that of the point itself."""

import torch
from torch import Tensor

from holdfast.attacks.case import Case
from holdfast.lanes import take


def around(case: Case, points: Tensor, count: int, spread: float, rounds: int) -> Tensor:
    """(L, count, ...): random points within `spread` radii of each of `points` (L, ...), in the box.

    `rounds` is how many questions a lane asks: what is drawn here has numbers past those of all rounds.
    Source: Wang & He 2021, arXiv:2103.15571, eq. 7, with uniform noise; in other norms than Linf uniform in their ball.
    """
    lane = torch.arange(len(points), device=points.device).repeat_interleave(count)
    number = torch.arange(count, device=points.device).repeat(len(points))
    draws = take(case.draws, lane).at(rounds + case.round[lane] * count + number)
    # One radius a lane, since a box may be narrower than so many radii.
    eps = spread * torch.as_tensor(case.threat.eps, dtype=points.dtype, device=points.device)
    middle = points.clamp(case.threat.low, case.threat.high)[lane]
    radius = eps.expand(len(points))[lane]
    return take(case.threat, lane).with_eps(radius).sample(middle, draws).view(len(points), count, *points.shape[1:])


def tuned(gradient: Tensor, nearby: Tensor) -> Tensor:
    """The mean gradient of the points around, (L, count, ...), less that of the point itself, (L, ...).

    Source: Wang & He 2021, arXiv:2103.15571, eq. 8.
    """
    return nearby.mean(1) - gradient

"""Gradients estimated from scores alone, by differences between points on either side."""

import torch
from torch import Tensor

from holdfast.access import Query, Scores
from holdfast.attacks.by_scores import heights
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.lanes import take
from holdfast.losses.objectives import Objective


def either_side(case: Case, x_adv: Tensor, way: Tensor, length: float) -> Query:
    """`x_adv`, and the points `length` from it along each `way` (L, S, C, H, W) and against it, inside the threat.

    A value that the box, or the radius in Linf, stops on one side moves on the other alone; its part of the estimate is
    smaller then, and has the right sign. In L1, at the edge, the projection takes away most of what is small: estimates
    say little there.
    """
    lanes, ways = way.shape[:2]
    lane = torch.arange(lanes, device=way.device)
    several = take(case, lane.repeat_interleave(2 * ways))
    sides = torch.stack([way * length, way * -length], 2).add_(x_adv[:, None, None])
    sides = several.project(sides.view(-1, *x_adv.shape[1:])).view(lanes, 2 * ways, *x_adv.shape[1:])
    points = torch.cat([x_adv[:, None], sides], 1)
    return Query(points.flatten(0, 1), lane=lane.repeat_interleave(2 * ways + 1))


def estimated(case: Case, answer: Scores, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
    """Where each lane was, the objective there (L,), and its estimated gradient, not to scale.

    From answers to `either_side`: every pair of points adds the way between them times the rise along it. What is not
    finite tells nothing.
    """
    shape = (len(case.round), -1)
    points = answer.points.view(*shape, *answer.points.shape[1:])
    loss = heights(case, answer, objective).view(shape)
    rise = usable(loss[:, 1::2] - loss[:, 2::2]).to(points)
    way = (points[:, 1::2] - points[:, 2::2]).flatten(2)
    gradient = torch.bmm(rise[:, None], way).view_as(points[:, 0])
    return points[:, 0], loss[:, 0], gradient

"""The best point seen, kept at the moment it is asked about."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from holdfast.lanes import column, take

Aim = Literal["first_success", "highest_loss", "smallest"]
"""What is best, and what ends a picture: its first success; nothing, the highest loss being wanted; nothing, the
smallest success being wanted. A success is always better than none."""


@dataclass(frozen=True)
class Merit:
    """What makes one point better than another. One row a point, lane or picture."""

    reached: Tensor  # (L,) bool
    loss: Tensor  # (L,) -inf before anything was seen
    size: Tensor | None  # (L,) of x_adv - x; only where the smallest is wanted
    question: Tensor  # (L,) int64: the question the point was asked in, from 1; -1 before


@dataclass(frozen=True)
class Best:
    """The best point of each lane.

    While a lane climbs, its best point is its last one. Then it is only referred to, in `last`, and copied into
    `kept` when a later point is worse: on small networks copying every round would cost as much as the model.
    """

    merit: Merit
    kept: Tensor  # (L, C, H, W)
    last: Tensor  # (L, C, H, W) the points of the last round
    in_last: Tensor  # (L,) bool: the best is in `last`, not in `kept`

    @property
    def x_adv(self) -> Tensor:
        """The best points, (L, C, H, W)."""
        return overwritten(self.kept.clone(), self.in_last, self.last)


def nothing_yet(x: Tensor, aim: Aim) -> Best:
    """Before the first question: the pictures themselves, not reached."""
    loss = torch.full((len(x),), -torch.inf, dtype=x.dtype, device=x.device)
    no = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    question = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
    merit = Merit(reached=no, loss=loss, size=-loss if aim == "smallest" else None, question=question)
    return Best(merit, kept=x.clone(), last=x, in_last=no)


def is_better(new: Merit, old: Merit, aim: Aim) -> Tensor:
    """(L,) bool: where `new` replaces `old`."""
    higher = new.loss > old.loss
    if aim == "first_success":
        return ~old.reached & (new.reached | higher)
    if aim == "smallest" and new.size is not None and old.size is not None:
        higher = torch.where(new.reached, new.size < old.size, higher)
    return (new.reached & ~old.reached) | ((new.reached == old.reached) & higher)


def keep_better(best: Best, points: Tensor, merit: Merit, aim: Aim) -> Best:
    """Lane by lane the better one of the best so far and the new point."""
    better = is_better(merit, best.merit, aim)
    kept = overwritten(best.kept, best.in_last & ~better, best.last)
    old = best.merit
    merit = Merit(
        reached=old.reached | merit.reached,  # no success is ever given up for a point that is none
        loss=torch.where(better, merit.loss, old.loss),
        size=None if merit.size is None or old.size is None else torch.where(better, merit.size, old.size),
        question=torch.where(better, merit.question, old.question),
    )
    return Best(merit, kept=kept, last=points, in_last=better)


def overwritten(target: Tensor, lanes: Tensor, source: Tensor) -> Tensor:
    """`target` with the rows in the mask `lanes` (L,) taken from `source`; on a CPU in place, copying only those."""
    if target.device.type != "cpu":  # there a list of rows would have to wait for the device
        return torch.where(column(lanes, target), source, target)
    rows = lanes.nonzero().squeeze(1)
    return target.index_copy_(0, rows, source.index_select(0, rows)) if len(rows) else target


def best_point_of_lane(points: Merit, lane: Tensor, lanes: int, aim: Aim) -> tuple[Tensor, Merit]:
    """The number of the best point of each lane, (lanes,) int64, and its merit, when lanes ask several or none.

    Ties go to the point asked first. A lane that asked nothing gets any point, with the merit of having seen none.
    """
    first = first_of_highest(worth(points, aim), lane, lanes)
    asked = first < len(lane)
    first = first.clamp_max(len(lane) - 1)
    merit = take(points, first)
    return first, replace(merit, reached=merit.reached & asked, loss=torch.where(asked, merit.loss, -torch.inf))


def worth(points: Merit, aim: Aim) -> Tensor:
    """(P, 2): what ranks the points of a lane, compared from left to right: reached or not, then by the aim."""
    second = points.loss
    if aim == "first_success":
        second = torch.where(points.reached, 0.0, second)  # the first success is as good as any
    elif aim == "smallest" and points.size is not None:
        second = torch.where(points.reached, -points.size.to(second), second)
    return torch.stack([points.reached.to(second), second], 1)


def first_of_highest(worth: Tensor, lane: Tensor, lanes: int) -> Tensor:
    """(lanes,) int64: the first of each lane's points whose `worth` no other exceeds; len(lane) for a lane of none."""
    best = torch.ones_like(lane, dtype=torch.bool)
    for part in worth.unbind(1):
        ranked = torch.where(best, part, -torch.inf)
        top = torch.full((lanes,), -torch.inf, dtype=part.dtype, device=lane.device)
        top = top.scatter_reduce(0, lane, ranked, "amax")
        best = best & (ranked == top[lane])
    place = torch.where(best, torch.arange(len(lane), device=lane.device), len(lane))
    none = torch.full((lanes,), len(lane), dtype=torch.int64, device=lane.device)
    return none.scatter_reduce(0, lane, place, "amin")

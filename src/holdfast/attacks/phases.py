"""Searches in phases: lanes of one batch that are in different phases ask their questions together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from holdfast.access import Labels, Query
from holdfast.attacks.case import Case
from holdfast.lanes import join, take

State = TypeVar("State")

OVER = -1  # the phase of a lane that is done


class Phase(Protocol):
    """One kind of question and what follows from the answer; given only the lanes that are in it.

    `at` is the attack's own state, a tree of lane tensors with `phase` (L,) int64, the place of each lane's phase.
    """

    def ask(self, case: Case, at: Any) -> tuple[Tensor, Tensor]:
        """Points (L, S, C, H, W) and how many of them, from the first, each lane asks, (L,) int64 from 1 up."""
        ...

    def hear(self, case: Case, at: Any, heard: "Heard") -> Any:
        """The next state, with the next phase."""
        ...


@dataclass(frozen=True)
class Heard:
    """What was answered to the lanes of a phase. A budget may have cut off the last points of a lane."""

    points: Tensor  # (L, S, C, H, W), zero where nothing was asked
    asked: Tensor  # (L, S) bool
    won: Tensor  # (L, S) bool: asked, and the goal is reached there

    @property
    def any_won(self) -> Tensor:
        """(L,) bool."""
        return self.won.any(1)

    @property
    def first_won(self) -> Tensor:
        """(L, C, H, W): the first point that won; any where none did."""
        return self.points[torch.arange(len(self.won), device=self.won.device), self.won.int().argmax(1)]

    def share_won(self) -> Tensor:
        """(L,) of the points asked."""
        return self.won.sum(1) / self.asked.sum(1).clamp_min(1)


@dataclass(frozen=True)
class Walk:
    """Where a lane is, and how many points it has asked about, (L,) int64."""

    at: Any
    spent: Tensor


def begin(phases: Sequence[Phase], case: Case, at: Any, queries: int) -> tuple[Walk, Query]:
    """The first question of new lanes that may ask about `queries` points each."""
    return asking(phases, case, Walk(at, torch.zeros_like(case.round)), queries)


def go_on(phases: Sequence[Phase], case: Case, walk: Walk, answer: Labels, queries: int) -> tuple[Walk, Query]:
    """The next question, after each phase has heard what concerns it."""
    assert answer.lane is not None  # `asking` always names them
    order = answer.lane.argsort(stable=True)  # lanes may have been joined since, each lane's points in their order
    lane = answer.lane[order]
    count = torch.bincount(lane, minlength=len(walk.spent))
    slot = torch.arange(len(lane), device=lane.device) - (count.cumsum(0) - count)[lane]
    changed, rows = [], []
    for number, phase in enumerate(phases):
        mine = (walk.at.phase == number).nonzero().squeeze(1)
        if not len(mine):
            continue
        place = torch.full_like(count, -1).index_copy(0, mine, torch.arange(len(mine), device=lane.device))
        here = (place[lane] >= 0).nonzero().squeeze(1)
        heard = laid_out(answer, order[here], place[lane[here]], slot[here], len(mine))
        changed.append(phase.hear(*take((case, walk.at), mine), heard))
        rows.append(mine)
    back = torch.cat(rows).argsort()
    return asking(phases, case, Walk(take(join(changed), back), walk.spent + count), queries)


def laid_out(answer: Labels, points: Tensor, row: Tensor, slot: Tensor, lanes: int) -> Heard:
    """Some points of an answer, each with its row and slot, as a table."""
    slots = int(slot.max()) + 1 if len(slot) else 1
    table = answer.points.new_zeros(lanes, slots, *answer.points.shape[1:])
    table[row, slot] = answer.points[points]
    asked = torch.zeros(lanes, slots, dtype=torch.bool, device=row.device)
    won = asked.clone()
    asked[row, slot] = True
    won[row, slot] = answer.reached[points]
    return Heard(table, asked, won)


def asking(phases: Sequence[Phase], case: Case, walk: Walk, queries: int) -> tuple[Walk, Query]:
    """What all lanes ask now; those that are over or have spent all ask nothing any more."""
    left = queries - walk.spent
    over = (walk.at.phase == OVER) | (left <= 0)
    points, lanes = [case.x[:0]], [case.round[:0]]
    for number, phase in enumerate(phases):
        mine = ((walk.at.phase == number) & ~over).nonzero().squeeze(1)
        if not len(mine):
            continue
        wanted, count = phase.ask(*take((case, walk.at), mine))
        count = torch.minimum(count, left[mine])
        asked = torch.arange(wanted.shape[1], device=count.device) < count[:, None]
        points.append(wanted[asked])
        lanes.append(mine.repeat_interleave(count))
    return walk, Query(torch.cat(points), lane=torch.cat(lanes), done=over)


def in_phase(at: State, phase: int, **changes: Any) -> State:
    """The state with all lanes in one phase, and other changes."""
    record: Any = at
    changed: State = replace(record, phase=torch.full_like(record.phase, phase), **changes)
    return changed


def as_asked(case: Case) -> Case:
    """The lanes as they were when they asked: what was drawn for the question is drawn again for the answer."""
    return replace(case, draws=case.draws.at(case.round - 1))


def one_each(points: Tensor) -> tuple[Tensor, Tensor]:
    """A question of one point a lane, (L, C, H, W)."""
    return points[:, None], torch.ones(len(points), dtype=torch.int64, device=points.device)


def between(case: Case, x_adv: Tensor, share: Tensor) -> Tensor:
    """The point whose change has `share` (L,) of the size, in the threat's geometry."""
    delta = x_adv - case.x
    return (
        case.threat.shorten(delta, share * case.threat.size(delta))
        .add_(case.x)
        .clamp_(case.threat.low, case.threat.high)
    )

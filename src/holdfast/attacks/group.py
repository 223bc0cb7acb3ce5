"""Lanes of one attack that are under way together."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from holdfast.access import Access, Answer, Part, Query
from holdfast.access.query import number_lanes
from holdfast.attacks.attack import Attack, repeats, view_of
from holdfast.attacks.best import Best
from holdfast.attacks.case import Case
from holdfast.errors import BudgetError
from holdfast.lanes import join, take

PER_POINT = ("towards", "classes", "against", "lane")  # parts of a query that it may do without


@dataclass(frozen=True)
class Group:
    """`picture`, `rank`, `case`, `state`, `best` have one row a lane; `query` is their question."""

    attack: Attack
    picture: Tensor  # (L,) int64, row of the picture
    rank: Tensor  # (L,) int64, place among the picture's lanes
    case: Case
    state: Any
    best: Best
    query: Query

    def __len__(self) -> int:
        return len(self.picture)

    def kept(self, lanes: Tensor) -> "Group":
        """The lanes in the mask (L,) bool."""
        if bool(lanes.all()):  # most often; a copy would cost as much as a step
            return self
        parts = take((self.picture, self.rank, self.case, self.state, self.best), lanes)
        return Group(self.attack, *parts, take_query(self.query, lanes))

    def point_goal(self) -> Any:
        """The goal that each point's objectives are taken for, one row a point."""
        if self.query.towards is not None:
            return self.query.towards
        return self.case.goal if self.query.lane is None else take(self.case.goal, self.query.lane)

    def part(self, look: int = 0) -> Part:
        """The question as the oracle takes it, at the look of that number where it is asked several times."""
        query, lane = self.query, self.query.lane
        check_access(self.attack, query)
        picture = self.picture if lane is None else self.picture[lane]
        view = view_of(self.attack, self.case, look)
        view = view if lane is None or view is None else take(view, lane)
        return Part(query.points, picture, self.point_goal(), query.objectives, query.classes, query.against, view)

    def points_asked(self) -> Tensor:
        """(L,) int64: how many points each lane asks, each as often as its attack repeats a question."""
        if self.query.lane is None:
            return torch.full_like(self.picture, repeats(self.attack))
        return torch.bincount(self.query.lane, minlength=len(self)) * repeats(self.attack)

    def backward_passes(self) -> int:
        """How many backward passes each point asks for."""
        return len(self.query.objectives) if self.query.classes is None else self.query.classes.shape[1]

    def joins(self, other: "Group") -> bool:
        """Whether the two may be one group: the same attack, asking the same kind of question."""
        mine, yours = self.query, other.query
        alike = all((getattr(mine, f) is None) == (getattr(yours, f) is None) for f in PER_POINT)
        # The same record given twice draws other noise the second time, so its two runs stay apart.
        same = self.attack is other.attack and self.case.draws.attack == other.case.draws.attack
        return same and mine.objectives == yours.objectives and alike

    @property
    def adaptive(self) -> bool:
        """Whether its lanes decide themselves when they end."""
        return self.query.over is not None or self.query.done is not None

    def final(self) -> Tensor:
        """(L,) bool: lanes whose question is their last."""
        last = self.case.round >= self.attack.rounds - 1
        return last if self.query.over is None else last | self.query.over

    def stepped(self, answer: Answer) -> "list[Group]":
        """One step further, for all lanes; in several groups where they do not ask for the same."""
        case = self.case.next_round()
        state, asked = self.attack.step(case, self.state, answer)
        if isinstance(asked, Query):
            return [replace(self, case=case, state=state, query=asked)]
        asked = [(lanes, query) for lanes, query in asked if bool(lanes.any())]
        return [replace(self, case=case, state=state, query=query).kept(lanes) for lanes, query in asked]


def merged(groups: list[Group]) -> Group:
    """Groups of one attack as one."""
    if len(groups) == 1:
        return groups[0]
    parts = join([(g.picture, g.rank, g.case, g.state, g.best) for g in groups])
    return Group(groups[0].attack, *parts, join_queries(groups))


def join_queries(groups: list[Group]) -> Query:
    """The questions of several groups as one, lanes counted on."""
    first = groups[0].query
    lane = None
    if first.lane is not None:
        lane = number_lanes([g.query.lane for g in groups if g.query.lane is not None], [len(g) for g in groups])
    over, done = (mask_of(groups, [getattr(g.query, name) for g in groups]) for name in ("over", "done"))
    tensors = join([(g.query.points, g.query.towards, g.query.classes, g.query.against) for g in groups])
    return Query(tensors[0], first.gradient_of, *tensors[1:], lane=lane, over=over, done=done)


def mask_of(groups: list[Group], masks: list[Tensor | None]) -> Tensor | None:
    """The lanes' masks as one, False for those of a group that has none; None if none has."""
    if all(mask is None for mask in masks):
        return None
    none = (torch.zeros_like(g.picture, dtype=torch.bool) for g in groups)
    return torch.cat([no if mask is None else mask for mask, no in zip(masks, none, strict=True)])


def take_query(query: Query, lanes: Tensor) -> Query:
    """The question of the lanes in the mask (L,) bool."""
    over, done = take((query.over, query.done), lanes)
    if query.lane is None:
        points = lanes
        lane = None
    else:
        points = lanes[query.lane]
        lane = (torch.cumsum(lanes, 0) - 1)[query.lane[points]]
    rest = take((query.points, query.towards, query.classes, query.against), points)
    return Query(rest[0], query.gradient_of, *rest[1:], lane=lane, over=over, done=done)


def check_access(attack: Attack, query: Query) -> None:
    """An attack gets no more than it declares."""
    wanted = Access.GRADIENT if query.objectives else Access.JACOBIAN if query.classes is not None else Access.LABELS
    if wanted > attack.access:
        raise BudgetError(
            f"{attack.name} asked for {wanted.name.lower()}; allowed: {attack.access.name.lower()}, as it declares. "
            "Raise its `access`, or ask for less."
        )

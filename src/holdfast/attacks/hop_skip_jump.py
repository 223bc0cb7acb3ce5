"""HopSkipJump: along the boundary by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.by_labels import Approach, Begin, direction, tolerance
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.phases import Heard, Phase, Walk, begin, go_on, in_phase, one_each
from holdfast.lanes import choose, column

BEGIN, APPROACH, ESTIMATE, MOVE = range(4)
FIRST_REACH = 0.1  # of the box: how far the first estimate looks around
SHORTEST = 20  # halvings of a move that finds nothing


@dataclass(frozen=True)
class Edge:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    x_adv: Tensor  # (L, C, H, W) reaches the goal, once there is one
    low: Tensor  # (L,) shares of its change between which the boundary lies
    high: Tensor
    tried: Tensor  # (L,) int64, questions in this phase
    way: Tensor  # (L, C, H, W) into the other class, of size 1
    iteration: Tensor  # (L,) int64, from 1


@dataclass(frozen=True, kw_only=True)
class HopSkipJump:
    """Bisect to the boundary, estimate its direction there from random points, move along it, and repeat.

    It begins at the nearest given picture of another class, else at a blend with noise. The direction is the mean of
    random ones, those that reach the goal counted for and the others against it; they are random signs here, which
    are cheaper to draw than normal numbers. A move that finds nothing is halved.
    Cost: `queries` forward passes, labels alone.
    Source: Chen, Jordan & Wainwright 2020, arXiv:1904.02144, algorithm 2; step and tolerance for L2 and Linf.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    points: int = field(default=100, metadata={"help": "points in the first estimate; times sqrt(iteration) later"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "hop-skip-jump"
    minimal: ClassVar[bool] = True
    begins_elsewhere: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "points")

    @property
    def rounds(self) -> int:
        """One question a point at most, and none at the end."""
        return self.queries + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Look for a point to begin at."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        at = Edge(none, case.x, zero, zero + 1, none, torch.zeros_like(case.x), none)
        return begin(self.phases(case), case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases(case), case, walk, answer, self.queries)

    def phases(self, case: Case) -> Sequence[Phase]:
        """In the order of their numbers."""
        return (
            Begin(then=APPROACH),
            Approach(number=APPROACH, then=ESTIMATE, tolerance=tolerance(case)),
            Estimate(points=self.points),
            Move(),
        )


def distance(case: Case, at: Edge) -> Tensor:
    """(L,) size of the change."""
    return case.threat.size(at.x_adv - case.x)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The direction in which the boundary is crossed, from random points around one on it."""

    points: int

    def ask(self, case: Case, at: Edge) -> tuple[Tensor, Tensor]:
        """More and more points, at a distance that falls with that of the boundary."""
        iteration = at.iteration + 1
        count = (self.points * iteration.to(torch.float64).sqrt()).long()
        around = case.x[:, None].expand(-1, int(count.max()), *case.x.shape[1:])
        signs = case.draws.signs(around)  # each direction has length sqrt(d)
        values = case.x[0].numel()
        first = FIRST_REACH * (case.threat.high - case.threat.low)
        reach = torch.where(iteration == 1, first, distance(case, at) / values)
        points = at.x_adv[:, None] + column(reach / values**0.5, around) * signs
        return points.clamp_(case.threat.low, case.threat.high), count

    def hear(self, case: Case, at: Edge, heard: Heard) -> Edge:
        """Along the mean direction from there."""
        way = case.threat.steepest(direction(at.x_adv, heard))
        return in_phase(at, MOVE, way=way, iteration=at.iteration + 1, tried=torch.zeros_like(at.tried))


@dataclass(frozen=True, kw_only=True)
class Move:
    """Along the direction, half as far each time that the goal is missed."""

    def ask(self, case: Case, at: Edge) -> tuple[Tensor, Tensor]:
        """The distance over the root of the iteration, halved so often as it was tried."""
        length = distance(case, at) / at.iteration.to(case.x).sqrt() * 0.5**at.tried
        points = at.x_adv + column(length, case.x) * at.way
        return one_each(points.clamp_(case.threat.low, case.threat.high))

    def hear(self, case: Case, at: Edge, heard: Heard) -> Edge:
        """To the boundary from there; a move that never finds anything leaves the lane for another estimate."""
        shorter = in_phase(at, MOVE, tried=at.tried + 1)
        there = in_phase(at, APPROACH, x_adv=heard.first_won, tried=torch.zeros_like(at.tried))
        again = in_phase(at, ESTIMATE, tried=torch.zeros_like(at.tried))
        return choose(heard.any_won, there, choose(at.tried >= SHORTEST, again, shorter))

"""GeoDA: the normal of the boundary from random points, and how far along it, by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.by_labels import Approach, Begin, direction
from holdfast.attacks.case import Case
from holdfast.attacks.low_frequencies import directions
from holdfast.attacks.options import at_least, share
from holdfast.attacks.phases import Heard, Phase, Walk, begin, go_on, in_phase, one_each
from holdfast.lanes import choose, column

BEGIN, APPROACH, ESTIMATE, REACH = range(4)
GROWTH = 0.6 ** (-2 / 3)  # of the points from one estimate to the next, as published
A_ROUND = 500  # points for which there is one estimate more, as in published code
SEARCH = 25  # points that a round takes besides its estimate, about
LONGEST = 8  # doublings of the way along the normal
NEAR = 1e-2  # how far from the point on the boundary others are asked about, as a share of the change
ON = 1e-4  # how far from the boundary that point may be: less than what others move across it, or all would win alike


@dataclass(frozen=True)
class Plane:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    x_adv: Tensor  # (L, C, H, W) reaches the goal, once there is one
    low: Tensor  # (L,) shares of its change between which the boundary lies
    high: Tensor
    tried: Tensor  # (L,) int64, questions in this phase
    normal: Tensor  # (L, C, H, W) the steepest way across the boundary, of size 1
    length: Tensor  # (L,) size of the change that the way along the normal starts from
    iteration: Tensor  # (L,) int64, from 1


@dataclass(frozen=True, kw_only=True)
class GeoDA:
    """Estimate the boundary's normal at the point on it, then go from the picture along it as far as it takes.

    Boundaries bend little near pictures, so one good normal does nearly all: the points for it grow from one estimate
    to the next by a constant factor, and there are few. Random directions are of low frequency.
    Cost: `queries` forward passes, labels alone.
    Source: Rahmati, Moosavi-Dezfooli, Frossard & Dai 2020, arXiv:2003.06468, algorithm 1 and sec. 4; the number of
    estimates, one in 500 points, from its code. What is left after the last goes to further estimates as large.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    frequencies: float = field(default=0.5, metadata={"help": "share of low frequencies in random directions"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "geoda"
    minimal: ClassVar[bool] = True
    begins_elsewhere: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries")
        if self.frequencies != 1:
            share(self, "frequencies")

    @property
    def rounds(self) -> int:
        """One question a point at most, and none at the end."""
        return self.queries + 1

    @property
    def plan(self) -> tuple[int, ...]:
        """How many points each estimate asks about."""
        count = max(1, round(self.queries / A_ROUND))
        points = max(count, self.queries - count * SEARCH)
        shares = [GROWTH**number for number in range(count)]
        return tuple(max(1, int(points * part / sum(shares))) for part in shares)

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Look for a point to begin at."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        at = Plane(none, case.x, zero, zero + 1, none, torch.zeros_like(case.x), zero, none)
        return begin(self.phases(case), case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases(case), case, walk, answer, self.queries)

    def phases(self, case: Case) -> Sequence[Phase]:
        """In the order of their numbers."""
        estimate = Normal(plan=self.plan, frequencies=self.frequencies)
        near = Approach(number=APPROACH, then=ESTIMATE, tolerance=ON)
        return (Begin(then=APPROACH), near, estimate, Along())


@dataclass(frozen=True, kw_only=True)
class Normal:
    """The mean of random directions, for those that reach the goal and against the others."""

    plan: tuple[int, ...]
    frequencies: float

    def ask(self, case: Case, at: Plane) -> tuple[Tensor, Tensor]:
        """Points around the one on the boundary."""
        plan = torch.tensor(self.plan, device=case.x.device)
        count = plan[at.iteration.clamp_max(len(plan) - 1)]
        away = column(NEAR * (at.x_adv - case.x).flatten(1).norm(dim=1), case.x)
        ways = directions(case, int(count.max()), self.frequencies)
        points = at.x_adv[:, None] + away[:, None] * ways
        return points.clamp_(case.threat.low, case.threat.high), count

    def hear(self, case: Case, at: Plane, heard: Heard) -> Plane:
        """Along the normal from there."""
        return in_phase(
            at,
            REACH,
            normal=case.threat.steepest(direction(at.x_adv, heard)),
            length=case.threat.size(at.x_adv - case.x),
            iteration=at.iteration + 1,
            tried=torch.zeros_like(at.tried),
        )


@dataclass(frozen=True, kw_only=True)
class Along:
    """From the picture along the normal, as far as the point on the boundary is, then twice as far each time."""

    def ask(self, case: Case, at: Plane) -> tuple[Tensor, Tensor]:
        """One point."""
        points = case.x + column(at.length * 2**at.tried, case.x) * at.normal
        return one_each(points.clamp_(case.threat.low, case.threat.high))

    def hear(self, case: Case, at: Plane, heard: Heard) -> Plane:
        """Back to the boundary from a point that reaches the goal; without any, another estimate from where it is."""
        none = torch.zeros_like(at.tried)
        on = in_phase(at, REACH, tried=at.tried + 1)
        there = in_phase(at, APPROACH, x_adv=heard.first_won, tried=none)
        again = in_phase(at, ESTIMATE, tried=none)
        return choose(heard.any_won, there, choose(at.tried >= LONGEST, again, on))

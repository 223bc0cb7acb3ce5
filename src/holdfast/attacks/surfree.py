"""SurFree: round a circle towards the picture in random planes, by labels alone and without a gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.by_labels import Approach, Begin, tolerance
from holdfast.attacks.case import Case
from holdfast.attacks.low_frequencies import directions
from holdfast.attacks.options import at_least, share
from holdfast.attacks.phases import Heard, Phase, Walk, as_asked, begin, go_on, in_phase, one_each
from holdfast.lanes import choose, column

BEGIN, APPROACH, TURN, WIDEN = range(4)
FIRST_TURN = math.radians(30)  # the largest angle tried at first
SLOWER = 0.98  # by what that angle falls after a failure, and rises after a success
HALVINGS = 6  # of the angle after a success
LARGEST = 0.49 * math.pi


@dataclass(frozen=True)
class Circle:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    x_adv: Tensor  # (L, C, H, W) reaches the goal, once there is one
    low: Tensor  # (L,) shares, while the first point is approached; then an angle that reaches the goal
    high: Tensor  # (L,) and one that does not, or is too wide
    tried: Tensor  # (L,) int64, questions in this phase
    aside: Tensor  # (L, C, H, W) of length 1 and square to the change: the plane that is turned in
    widest: Tensor  # (L,) the largest angle tried


@dataclass(frozen=True, kw_only=True)
class SurFree:
    """Turn the change in a random plane: the circle through the picture and the point has only nearer points.

    Both ways, by the largest angle first, then by smaller ones; an angle that reaches the goal is widened by halving.
    Planes are spanned by the change and a random direction of low frequency.
    Cost: `queries` forward passes, labels alone.
    Source: Maho, Furon & Le Merrer 2021, arXiv:2011.12807, algorithm 1; directions are made square to the change alone,
    not to earlier ones as well, and angles are widened from the one that succeeds up to the one before it.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    angles: int = field(default=3, metadata={"help": "angles tried each way in a plane"})
    frequencies: float = field(default=0.5, metadata={"help": "share of low frequencies in random directions"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "surfree"
    minimal: ClassVar[bool] = True
    begins_elsewhere: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "angles")
        share(self, "frequencies")

    @property
    def rounds(self) -> int:
        """One question a point at most, and none at the end."""
        return self.queries + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Look for a point to begin at."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        at = Circle(none, case.x, zero, zero + 1, none, torch.zeros_like(case.x), zero + FIRST_TURN)
        return begin(self.phases(case), case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases(case), case, walk, answer, self.queries)

    def phases(self, case: Case) -> Sequence[Phase]:
        """In the order of their numbers."""
        turn = Turn(angles=self.angles, frequencies=self.frequencies)
        return (Begin(then=APPROACH), Approach(number=APPROACH, then=TURN, tolerance=tolerance(case)), turn, Widen())


def turned(case: Case, at: Circle, angle: Tensor) -> Tensor:
    """The point of the circle over the change by that angle (L,)."""
    delta = at.x_adv - case.x
    length = case.threat.size(delta)
    cos, sin = angle.cos(), angle.sin()
    on = column(cos * cos, delta) * delta + column(length * cos * sin, delta) * at.aside
    return on.add_(case.x).clamp_(case.threat.low, case.threat.high)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """In a new plane, try the angles one by one: the widest each way first."""

    angles: int
    frequencies: float

    def ask(self, case: Case, at: Circle) -> tuple[Tensor, Tensor]:
        """One point."""
        return one_each(turned(case, self.planned(case, at), self.angle(at, at.tried)))

    def hear(self, case: Case, at: Circle, heard: Heard) -> Circle:
        """Widen an angle that reaches the goal; else the next, or another plane."""
        asked = self.planned(as_asked(case), at)
        before = torch.where(at.tried >= 2, self.angle(at, at.tried - 2).abs(), (2 * at.widest).clamp_max(LARGEST))
        sign = self.angle(at, at.tried).sign()
        won = in_phase(
            asked,
            WIDEN,
            aside=asked.aside * column(sign, case.x),
            low=self.angle(at, at.tried).abs(),
            high=before,
            tried=torch.zeros_like(at.tried),
            widest=(at.widest / SLOWER).clamp_max(LARGEST),
        )
        tried = at.tried + 1
        ends = tried >= 2 * self.angles
        on = in_phase(
            asked,
            TURN,
            tried=torch.where(ends, 0, tried),
            widest=torch.where(ends, at.widest * SLOWER, at.widest),
        )
        return choose(heard.any_won, won, on)

    def angle(self, at: Circle, tried: Tensor) -> Tensor:
        """(L,) the angle of a try: the widest, then less by equal steps, each of them both ways."""
        sign = 1 - 2 * (tried % 2).to(at.widest)
        return sign * at.widest * (1 - (tried // 2).to(at.widest) / self.angles)

    def planned(self, case: Case, at: Circle) -> Circle:
        """The lanes with the plane they turn in, a new one where none was tried yet."""
        fresh = directions(case, 1, self.frequencies)[:, 0]
        delta = at.x_adv - case.x
        length = delta.flatten(1).square().sum(1).clamp_min(torch.finfo(delta.dtype).tiny)
        fresh = fresh - column((fresh * delta).flatten(1).sum(1) / length, delta) * delta
        fresh = case.threat.steepest(fresh)
        return in_phase(at, TURN, aside=choose(at.tried == 0, fresh, at.aside))


@dataclass(frozen=True, kw_only=True)
class Widen:
    """Halve between an angle that reaches the goal and a wider one."""

    def ask(self, case: Case, at: Circle) -> tuple[Tensor, Tensor]:
        """Half way."""
        return one_each(turned(case, at, (at.low + at.high) / 2))

    def hear(self, case: Case, at: Circle, heard: Heard) -> Circle:
        """On, or to another plane from the nearer point."""
        middle, won, tried = (at.low + at.high) / 2, heard.any_won, at.tried + 1
        low, high = torch.where(won, middle, at.low), torch.where(won, at.high, middle)
        on = in_phase(at, WIDEN, low=low, high=high, tried=tried)
        there = in_phase(at, TURN, x_adv=turned(case, at, low), tried=torch.zeros_like(tried))
        return choose(tried >= HALVINGS, there, on)

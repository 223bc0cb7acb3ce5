"""Sign-OPT: turn the direction along which the boundary is nearest, by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.by_labels import Approach, Begin
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.phases import Heard, Phase, Walk, as_asked, begin, go_on, in_phase, one_each
from holdfast.lanes import choose, column

BEGIN, APPROACH, ESTIMATE, TURN = range(4)
FIRST_TURN = 0.2  # length of the first step of the direction, which has length 1
NEARER = 0.999  # a turn counts if the boundary is at less than this share of the distance
SHORTEST = 12  # halvings of a turn before another estimate
NEAR = 1e-4  # tolerance of the distance, as a share of it


@dataclass(frozen=True)
class Direction:
    """Where a lane is; its direction is that of the change."""

    phase: Tensor  # (L,) int64
    x_adv: Tensor  # (L, C, H, W) on the boundary, once there is one
    low: Tensor  # (L,) shares of its change between which the boundary lies
    high: Tensor
    tried: Tensor  # (L,) int64, questions in this phase
    uphill: Tensor  # (L, C, H, W) of length 1: turning that way takes the boundary away
    turn: Tensor  # (L,) length of the next turn


@dataclass(frozen=True, kw_only=True)
class SignOPT:
    """Descend the distance of the boundary as a function of the direction, of which only signs are asked.

    Whether a direction turned a little reaches the boundary sooner is one question: does it reach the goal at the
    distance so far? The mean of such signs times their turns is the gradient. A step along it is taken if the boundary
    is nearer there, twice as long next time; else it is halved.
    Cost: `queries` forward passes, labels alone.
    Source: Cheng, Singh, Chen, Chen, Liu & Hsieh 2020, arXiv:1909.10773, algorithm 1; the first step that comes nearer
    is taken rather than the best of several, and the turns are random signs instead of normal draws.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    points: int = field(default=100, metadata={"help": "turns that a gradient is estimated from"})
    reach: float = field(default=0.01, metadata={"help": "length of those turns"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "sign-opt"
    minimal: ClassVar[bool] = True
    begins_elsewhere: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "points")
        positive(self, "reach")

    @property
    def rounds(self) -> int:
        """One question a point at most, and none at the end."""
        return self.queries + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Look for a point to begin at."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        at = Direction(none, case.x, zero, zero + 1, none, torch.zeros_like(case.x), zero + FIRST_TURN)
        return begin(self.phases, case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases, case, walk, answer, self.queries)

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order of their numbers."""
        near = Approach(number=APPROACH, then=ESTIMATE, tolerance=NEAR)
        return (Begin(then=APPROACH), near, Signs(points=self.points, reach=self.reach), Turn())


def along(case: Case, direction: Tensor, length: Tensor) -> Tensor:
    """The pictures moved by `length` (L,) along directions (L, ...), which are brought to length 1, cut to the box."""
    moved = case.x + column(length, case.x) * case.threat.steepest(direction)
    return moved.clamp_(case.threat.low, case.threat.high)


@dataclass(frozen=True, kw_only=True)
class Signs:
    """The gradient of the distance, from whether turned directions reach the goal at the distance so far."""

    points: int
    reach: float

    def ask(self, case: Case, at: Direction) -> tuple[Tensor, Tensor]:
        """One point a turn."""
        delta = (at.x_adv - case.x)[:, None]
        length = delta.flatten(2).norm(dim=2)
        turned = delta + column(self.reach * length[:, 0], delta) * self.turns(case)
        scale = length / turned.flatten(2).norm(dim=2).clamp_min(torch.finfo(turned.dtype).tiny)
        points = case.x[:, None] + turned * scale.view(*scale.shape, *[1] * (case.x.ndim - 1))
        return points.clamp_(case.threat.low, case.threat.high), torch.full_like(at.phase, self.points)

    def hear(self, case: Case, at: Direction, heard: Heard) -> Direction:
        """The mean turn, against those that reach the goal and for the others."""
        turns = self.turns(as_asked(case))[:, : heard.asked.shape[1]].flatten(2)
        sign = (1 - 2 * heard.won.to(case.x)) * heard.asked
        uphill = torch.bmm(sign[:, None], turns).view_as(case.x)
        return in_phase(at, TURN, uphill=case.threat.steepest(uphill), tried=torch.zeros_like(at.tried))

    def turns(self, case: Case) -> Tensor:
        """(L, points, C, H, W) random directions of length 1."""
        like = case.x[:, None].expand(-1, self.points, *case.x.shape[1:])
        return case.draws.signs(like).div_(case.x[0].numel() ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A step down the gradient, half as long each time that the boundary is no nearer there."""

    def ask(self, case: Case, at: Direction) -> tuple[Tensor, Tensor]:
        """A little nearer than the boundary is now."""
        return one_each(self.turned(case, at))

    def hear(self, case: Case, at: Direction, heard: Heard) -> Direction:
        """To the boundary along the new direction; after too many halvings another estimate."""
        none = torch.zeros_like(at.tried)
        there = in_phase(at, APPROACH, x_adv=heard.first_won, tried=none, turn=2 * at.turn)
        shorter = in_phase(at, TURN, tried=at.tried + 1, turn=at.turn / 2)
        again = in_phase(at, ESTIMATE, tried=none, turn=torch.full_like(at.turn, FIRST_TURN))
        return choose(heard.any_won, there, choose(at.tried >= SHORTEST, again, shorter))

    def turned(self, case: Case, at: Direction) -> Tensor:
        """The point at nearly the distance so far, along the direction a step down."""
        delta = at.x_adv - case.x
        length = case.threat.size(delta)
        return along(case, delta - column(length * at.turn, delta) * at.uphill, NEARER * length)

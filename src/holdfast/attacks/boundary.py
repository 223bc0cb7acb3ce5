"""The boundary attack: a random walk along the boundary, by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.by_labels import Approach, Begin
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.phases import Heard, Phase, Walk, begin, go_on, in_phase
from holdfast.lanes import choose, column

BEGIN, APPROACH, WALK = range(3)
NEAR = 1e-3  # of the first approach, as a share of the change
ADAPT = 1.1  # factor of a step
ASIDE, NEARER = 0.5, 0.25  # shares of the tries that are to succeed
MEMORY = 0.9  # of the shares


@dataclass(frozen=True)
class Walker:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    x_adv: Tensor  # (L, C, H, W) reaches the goal, once there is one
    low: Tensor  # (L,) shares of its change, while the first point is approached
    high: Tensor
    tried: Tensor  # (L,) int64, questions in this phase
    aside: Tensor  # (L,) length of a step round the picture, as a share of the change
    nearer: Tensor  # (L,) of the step towards it
    aside_won: Tensor  # (L,) share of late steps round it that reached the goal
    nearer_won: Tensor  # (L,) of late steps towards it


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """Step aside at random on the sphere around the picture, then a little nearer; keep it where the goal is reached.

    Both steps adapt, so that half of the steps aside and a quarter of those nearer succeed. Every question asks about
    the point aside and the point nearer, where the published code asks about the former now and then.
    Cost: `queries` forward passes, labels alone.
    Source: Brendel, Rauber & Bethge 2018, arXiv:1712.04248, algorithm 1 and fig. 2; directions are random signs.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    step_size: float = field(default=0.1, metadata={"help": "first step aside and nearer, as a share of the change"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "boundary"
    minimal: ClassVar[bool] = True
    begins_elsewhere: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries")
        positive(self, "step_size")

    @property
    def rounds(self) -> int:
        """One question a point at most, and none at the end."""
        return self.queries + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Look for a point to begin at."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        first = zero + self.step_size
        at = Walker(none, case.x, zero, zero + 1, none, first, first, zero + ASIDE, zero + NEARER)
        return begin(self.phases, case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases, case, walk, answer, self.queries)

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order of their numbers."""
        return (Begin(then=APPROACH), Approach(number=APPROACH, then=WALK, tolerance=NEAR), Step())


@dataclass(frozen=True, kw_only=True)
class Step:
    """Aside, and from there nearer."""

    def ask(self, case: Case, at: Walker) -> tuple[Tensor, Tensor]:
        """The nearer point, then the one aside."""
        delta = at.x_adv - case.x
        length = case.threat.size(delta)
        way = case.draws.signs(delta).div_(delta[0].numel() ** 0.5)
        moved = delta + column(at.aside * length, delta) * way
        around = column(length, delta) * case.threat.steepest(moved)
        nearer = around * column(1 - at.nearer, delta)
        points = torch.stack([nearer, around], 1) + case.x[:, None]
        return points.clamp_(case.threat.low, case.threat.high), torch.full_like(at.phase, 2)

    def hear(self, case: Case, at: Walker, heard: Heard) -> Walker:
        """To the nearer point where that reaches the goal, and steps that fit."""
        nearer, around = heard.won[:, 0], heard.won[:, -1]
        x_adv = choose(nearer, heard.points[:, 0], at.x_adv)
        aside_won = torch.lerp(around.to(at.aside), at.aside_won, MEMORY)
        nearer_won = torch.lerp(nearer.to(at.nearer), at.nearer_won, MEMORY)
        aside = at.aside * torch.where(aside_won > ASIDE, ADAPT, 1 / ADAPT)
        step = at.nearer * torch.where(nearer_won > NEARER, ADAPT, 1 / ADAPT)
        return in_phase(
            at,
            WALK,
            x_adv=x_adv,
            aside=aside.clamp(1e-6, 1.0),
            nearer=step.clamp(1e-7, 0.5),
            aside_won=aside_won,
            nearer_won=nearer_won,
        )

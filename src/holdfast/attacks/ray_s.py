"""RayS: which corner to go to, block by block, and how far, by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.blocks import Blocks
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.phases import Heard, Phase, Walk, begin, go_on, in_phase, one_each
from holdfast.lanes import choose, column

FLIP, SHRINK = range(2)
NEAR = 1e-3  # of the box: the radius is halved down to this


@dataclass(frozen=True)
class Ray:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    sign: Tensor  # (L, C, H, W) -1 or 1, the direction
    radius: Tensor  # (L,) at which it reaches the goal; the width of the box until any does
    found: Tensor  # (L,) bool, whether any does
    blocks: Blocks  # whose signs are turned next
    low: Tensor  # (L,) between this radius and that
    high: Tensor  # (L,)


@dataclass(frozen=True, kw_only=True)
class RayS:
    """Turn the signs of one block of values after the other, of ever smaller blocks, and keep what reaches nearer.

    A direction is asked about at the smallest radius so far; one that reaches the goal there has its radius halved
    down. It needs no point to begin at and has no step sizes. Once blocks are single values it begins anew.
    Cost: `queries` forward passes, labels alone.
    Source: Chen & Gu 2020, arXiv:2006.12792, algorithms 2 and 3; begins with all signs 1.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "ray-s"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries")

    @property
    def rounds(self) -> int:
        """One question a point, and none at the end."""
        return self.queries + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """All values up, as far as the box goes."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        width = zero + (case.threat.high - case.threat.low)
        at = Ray(none, torch.ones_like(case.x), width, none > 0, Blocks.first(none, -1), zero, width)
        return begin(self.phases, case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases, case, walk, answer, self.queries)

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order of their numbers."""
        return (Flip(), Shrink())


def reached(case: Case, sign: Tensor, radius: Tensor) -> Tensor:
    """The point so far in that direction, cut to the box."""
    return (case.x + column(radius, case.x) * sign).clamp_(case.threat.low, case.threat.high)


def further(at: Ray) -> Ray:
    """The next block."""
    return replace(at, blocks=at.blocks.next(at.sign[0].numel()))


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Ask about the direction with a block turned, at the smallest radius so far."""

    def ask(self, case: Case, at: Ray) -> tuple[Tensor, Tensor]:
        """One point."""
        return one_each(reached(case, at.blocks.turned(at.sign), at.radius))

    def hear(self, case: Case, at: Ray, heard: Heard) -> Ray:
        """Halve the radius of a direction that reaches the goal; else the next block."""
        better = in_phase(
            at,
            SHRINK,
            sign=at.blocks.turned(at.sign),
            found=torch.ones_like(at.found),
            low=torch.zeros_like(at.low),
            high=at.radius,
        )
        return choose(heard.any_won, better, in_phase(further(at), FLIP))


@dataclass(frozen=True, kw_only=True)
class Shrink:
    """Halve the radius of the direction."""

    def ask(self, case: Case, at: Ray) -> tuple[Tensor, Tensor]:
        """Half way."""
        return one_each(reached(case, at.sign, (at.low + at.high) / 2))

    def hear(self, case: Case, at: Ray, heard: Heard) -> Ray:
        """On, or to the next block."""
        middle, won = (at.low + at.high) / 2, heard.any_won
        low, high = torch.where(won, at.low, middle), torch.where(won, middle, at.high)
        on = in_phase(at, SHRINK, low=low, high=high)
        there = in_phase(further(replace(on, radius=high)), FLIP)
        return choose(high - low <= NEAR * (case.threat.high - case.threat.low), there, on)

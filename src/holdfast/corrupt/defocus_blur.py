"""Out of focus: each point becomes a disk."""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.filters import quadrant
from holdfast.draws import Draws

NOTHING = 1e-9  # a weight below it is left out


@dataclass(frozen=True, kw_only=True)
class DefocusBlur:
    """Filter with a disk that is itself slightly blurred; beyond its edge the picture is mirrored.

    Strength: the disk's radius and the deviation of its own blur, in pixels.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "defocus-blur"
    levels: ClassVar[Levels[tuple[float, float]]] = Levels(
        imagenet=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    )

    def apply(self, x: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
        """The pictures out of focus."""
        return quadrant(x, disk(*strength)).clamp_(0, 1)


@cache
def disk(radius: float, deviation: float) -> tuple[tuple[float, ...], ...]:
    """The lower right quarter of the kernel, its middle first: `disk(...)[down][right]`.

    The published code paints the disk on a grid that reaches 8 pixels, or the radius where that is more, and blurs it
    there by 3 or 5 pixels; beyond the grid's edge it is mirrored. A disk that touches the edge (radius 8 and 10) has
    its rim doubled by this, and adds up to 1.01: pictures get that much brighter, as the published ones.
    """
    side, reach = (8, 1) if radius <= 8 else (math.floor(radius), 2)
    painted = [[float(x * x + y * y <= radius * radius) for x in range(side + 1)] for y in range(side + 1)]
    whole = sum(value * (1 + (x > 0)) * (1 + (y > 0)) for y, row in enumerate(painted) for x, value in enumerate(row))
    blur = [math.exp(-0.5 * (step / deviation) ** 2) for step in range(-reach, reach + 1)]
    share = [weight / math.fsum(blur) for weight in blur]

    def at(y: int, x: int) -> float:
        return painted[_folded(y, side)][_folded(x, side)] / whole

    steps = range(-reach, reach + 1)
    rows = [
        [
            sum(share[i + reach] * share[j + reach] * at(y + i, x + j) for i in steps for j in steps)
            for x in range(side + 1)
        ]
        for y in range(side + 1)
    ]
    kept = max(max(y, x) for y, row in enumerate(rows) for x, weight in enumerate(row) if weight > NOTHING)
    return tuple(tuple(weight if weight > NOTHING else 0.0 for weight in row[: kept + 1]) for row in rows[: kept + 1])


def _folded(place: int, side: int) -> int:
    """A place on the grid as one of its lower right quarter."""
    place = abs(place)
    return 2 * side - place if place > side else place

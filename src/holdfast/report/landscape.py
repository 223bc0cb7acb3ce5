"""Maps of what turns and shifts do to the answer, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.axes import FLOOR, HEIGHT, LEFT, RIGHT, TOP, WIDTH, figure, text
from holdfast.drawing.marks import colour

SINGLE = 6  # pictures with a map of their own
GAP = 14  # between those


@dataclass(frozen=True)
class Landscape:
    """Margins of m pictures, above 0 while the prediction is the label, over A angles and S shifts to the right."""

    margin: NDArray[Any]  # (m, A, S)
    angle: NDArray[Any]  # (A,) degrees, ascending
    shift: NDArray[Any]  # (S,) shares of the width, ascending


def overall(found: Landscape, style: int) -> str:
    """The share of the pictures that are right at each angle and shift, darker for more, worst place marked."""
    share = (found.margin > 0).mean(0)
    boxes = cells(share, LEFT, TOP, WIDTH - LEFT - RIGHT, FLOOR - TOP)
    worst = np.unravel_index(share.argmin(), share.shape)
    at = f"{found.angle[worst[0]]:+.0f}° and {100 * found.shift[worst[1]]:+.0f} % of the width"
    most, least = 100 * share.max(), 100 * share.min()
    told = f"{len(found.margin)} pictures: {most:.0f} % right where most are, {least:.0f} % at {at}"
    parts = [f'<g class="{colour(style)}">', *boxes, "</g>", *axes(found)]
    return figure("Pictures right by angle and shift", told, parts)


def singles(found: Landscape, style: int) -> str:
    """The same of single pictures: filled where the answer is right."""
    maps = found.margin[:SINGLE] > 0
    wide = (WIDTH - GAP * (SINGLE // 2 - 1)) / (SINGLE // 2)
    high = (HEIGHT - GAP) / 2
    parts = [f'<g class="{colour(style)}">']
    for number, one in enumerate(maps):
        x, y = number % (SINGLE // 2) * (wide + GAP), number // (SINGLE // 2) * (high + GAP)
        parts += cells(one.astype(float), x, y, wide, high)
        parts.append(f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"/>')
    told = "; ".join(f"picture {number + 1}: right at {100 * one.mean():.0f} %" for number, one in enumerate(maps))
    return figure("Where single pictures are right", told, [*parts, "</g>"])


def cells(share: NDArray[Any], x: float, y: float, wide: float, high: float) -> list[str]:
    """A rectangle a cell, (A, S): angles to the right, shifts upwards, as opaque as the share is large."""
    across, up = wide / share.shape[0], high / share.shape[1]
    return [
        f'<rect class="fill" x="{x + i * across:.2f}" y="{y + high - (j + 1) * up:.2f}" width="{across:.2f}" '
        f'height="{up:.2f}" fill-opacity="{value:.2f}"/>'
        for i, row in enumerate(share)
        for j, value in enumerate(row)
        if value > 0
    ]


def axes(found: Landscape) -> list[str]:
    """Labels at the ends and in the middle."""
    parts: list[str] = []
    for share in (0.0, 0.5, 1.0):
        x, y = LEFT + share * (WIDTH - LEFT - RIGHT), FLOOR - share * (FLOOR - TOP)
        parts.append(text(x, FLOOR + 22, f"{ends(found.angle, share):+.0f}°"))
        parts.append(text(LEFT - 8, y + 4.5, f"{100 * ends(found.shift, share):+.0f} %", "end"))
    label = "angle; above, the shift to the right as a share of the width"
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, label, kind="label"))
    return parts


def ends(values: Sequence[float] | NDArray[Any], share: float) -> float:
    """The value that far between the first and the last, without a minus before 0."""
    return float(values[0] + share * (values[-1] - values[0])) + 0.0

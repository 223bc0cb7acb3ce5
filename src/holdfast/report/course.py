"""The size of the smallest change against the points asked, as an inline SVG with a logarithmic lower axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.drawing.axes import bottom, figure, place_x, place_y, side
from holdfast.drawing.marks import mark
from holdfast.drawing.strokes import band, line


@dataclass(frozen=True)
class Search:
    """One run: (points asked, median, lower quartile, upper quartile) rows, ascending, all medians finite."""

    label: str
    style: int
    rows: tuple[tuple[int, float, float, float], ...]


def course(searches: Sequence[Search], norm: str) -> str:
    """Medians as lines and the middle halves as bands, one a run."""
    asked = [row[0] for one in searches for row in one.rows]
    span = (math.log10(min(asked)), math.log10(max(asked)) or 1.0)
    top = nice(max(row[1] for one in searches for row in one.rows))
    ticks = [(math.log10(points), f"{points}") for points in sorted({*asked}) if str(points)[0] == "1"]
    if not ticks or ticks[-1][0] < span[1]:
        ticks.append((span[1], f"{max(asked)}"))
    parts = [side([(step / 4, f"{top * step / 4:.3g}") for step in range(5)])]
    parts.append(bottom(ticks, span, f"points asked about a picture; median {norm} size of the change above"))
    for one in searches:
        places = [(place_x(math.log10(points), span), *(height(v, top) for v in rest)) for points, *rest in one.rows]
        parts.append(band(one.style, [(x, high) for x, _, _, high in places], [(x, low) for x, _, low, _ in places]))
        marks = "".join(mark(one.style, x, middle, 4) for x, middle, _, _ in places)
        parts.append(line(one.style, [(x, middle) for x, middle, _, _ in places], marks))
    said = [f"{one.label}: {one.rows[-1][1]:.4g} after {one.rows[-1][0]} points" for one in searches]
    return figure("Smallest change against points asked", "; ".join(said), parts)


def height(value: float, top: float) -> float:
    """Where a size lies; what is larger than the axis, at its end."""
    return place_y(min(value / top, 1.0))


def nice(value: float) -> float:
    """The least of 1, 2, 4, 6, 8, 10 times a power of ten that is no smaller."""
    scale = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((base * scale for base in (1, 2, 4, 6, 8) if base * scale >= value), 10 * scale)

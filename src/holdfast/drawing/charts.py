"""Charts of numbers as inline SVG: lines over an axis, and bars side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.drawing.axes import FLOOR, LEFT, RIGHT, WIDTH, bottom, figure, place_x, place_y, side, text
from holdfast.drawing.marks import colour, mark
from holdfast.drawing.scales import Scale, covering
from holdfast.drawing.strokes import band, line

UNIT = (0.0, 1.0)  # the lower axis in shares of its length


@dataclass(frozen=True)
class Line:
    """`points` are (x, y) or (x, y, low, high) ascending in x; `style` chooses colour and mark; `dashed` for theory."""

    label: str
    style: int
    points: tuple[tuple[float, ...], ...]
    dashed: bool = False


def lines(
    series: Sequence[Line],
    *,
    title: str,
    x_label: str,
    log_x: bool = False,
    log_y: bool = False,
    percent: bool = False,
    zero: bool = True,
    y_from: Sequence[float] = (),
) -> str:
    """Lines with marks and, where points carry them, bands from low to high.

    Args: `percent` writes the upright axis in percent of 1; `zero` starts it at 0; `y_from` are values that it must
    hold too. Points that are not finite, or not positive on a logarithmic axis, are left out. What the upright axis
    shows belongs into the title.
    """
    x = covering([p[0] for one in series for p in one.points], log=log_x, zero=False)
    seen = [v for one in series for p in one.points for v in p[1:]]
    y = covering([*seen, *y_from], log=log_y, percent=percent, zero=zero, round_ends=True)
    across = [(x.share(value), name) for value, name in x.ticks()]
    parts = [side([(y.share(value), name) for value, name in y.ticks()]), bottom(across, UNIT, x_label)]
    if log_y:  # no grid line of this axis need lie at its foot
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{FLOOR}" y2="{FLOOR}"/>')
    kept = [(one, [p for p in one.points if _drawable(p, log_x, log_y)]) for one in series]
    parts += [_band(one, points, x, y) for one, points in kept]
    parts += [_line(one, points, x, y) for one, points in kept]
    said = [f"{one.label}: {y.text(points[-1][1])} at {x.text(points[-1][0])}" for one, points in kept if points]
    return figure(title, "; ".join(said), parts)


@dataclass(frozen=True)
class Bar:
    """The bars of one series, a value a group; None where there is none."""

    label: str
    style: int
    values: tuple[float | None, ...]


def bars(series: Sequence[Bar], groups: Sequence[str], *, title: str, x_label: str = "", percent: bool = False) -> str:
    """Groups of bars from 0 up, one bar a series, with the value written over each."""
    y = covering([v for one in series for v in one.values if v is not None], percent=percent)
    wide = (WIDTH - LEFT - RIGHT) / len(groups)
    each = 0.8 * wide / len(series)
    parts = [side([(y.share(value), name) for value, name in y.ticks()])]
    parts += [text(LEFT + (n + 0.5) * wide, FLOOR + 22, name) for n, name in enumerate(groups)]
    parts += [text((LEFT + WIDTH - RIGHT) / 2, FLOOR + 46, x_label, kind="label")] if x_label else []
    for number, one in enumerate(series):
        boxes = []
        for group, value in enumerate(one.values):
            if value is None:
                continue
            left, top = LEFT + (group + 0.1) * wide + number * each, place_y(y.share(value))
            box = f'x="{left + 1:.1f}" y="{top:.1f}" width="{max(each - 2, 1):.1f}" height="{FLOOR - top:.1f}"'
            boxes.append(f'<rect class="fill" {box} rx="1.5"/>')
            boxes.append(text(left + each / 2, top - 5, f"{100 * value:.0f}" if percent else f"{value:.3g}"))
        parts.append(f'<g class="{colour(one.style)}">{"".join(boxes)}</g>')
    told = ((n, v) for one in series for n, v in zip(groups, one.values))
    return figure(title, "; ".join(f"{n}: {y.text(v)}" for n, v in told if v is not None), parts)


def _drawable(point: tuple[float, ...], log_x: bool, log_y: bool) -> bool:
    x, y = point[:2]
    return math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y)


def _band(one: Line, points: Sequence[tuple[float, ...]], x: Scale, y: Scale) -> str:
    wide = [p for p in points if len(p) == 4]
    if not wide:
        return ""
    upper = [_place(x.share(p[0]), y.share(p[3])) for p in wide]
    lower = [_place(x.share(p[0]), y.share(p[2])) for p in wide]
    return band(one.style, upper, lower)


def _line(one: Line, points: Sequence[tuple[float, ...]], x: Scale, y: Scale) -> str:
    places = [_place(x.share(p[0]), y.share(p[1])) for p in points]
    # Theory and curves of very many points are lines alone: marks would hide them.
    bare = one.dashed or len(places) > 40
    marks = "" if bare else "".join(mark(one.style, *place, 4) for place in places)
    return line(one.style, places, marks, dashed=one.dashed)


def _place(across: float, up: float) -> tuple[float, float]:
    """A place by its shares of both axes."""
    return place_x(across, UNIT), place_y(up)

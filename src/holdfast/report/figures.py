"""Figures as inline SVG, pure functions from numbers to text. Colours and fonts come from the page's style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.drawing.axes import FLOOR, LETTER, TOP, Span, bottom, figure, place_x, place_y, side, text
from holdfast.drawing.marks import colour, mark
from holdfast.drawing.strokes import band, line


@dataclass(frozen=True)
class Point:
    """Robust accuracy at one radius: `rate`, `low` and `high` in [0, 1]. `text` None: it only shapes the line."""

    eps: float
    text: str | None
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """One run's curve; `style` chooses colour and mark."""

    label: str
    style: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Bars:
    """A histogram: `edges` (B + 1) ascending and `counts` (B); `ticks` are (place, text) on the same axis."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    ticks: tuple[tuple[float, str], ...]


def curve(series: Sequence[Series], *, title: str, x_label: str) -> str:
    """Accuracy against radius with interval bands, one line a run; a run alone has its values written in."""
    points = [point for one in series for point in one.points]
    span = (0.0, max((point.eps for point in points), default=0.0) or 1.0)
    ticks = sorted({point.eps: point.text for point in points if point.text is not None}.items())
    if points and span[1] > max((place for place, _ in ticks), default=0.0):
        ticks.append((span[1], f"{span[1]:.3g}"))
    quarters = [(step / 4, f"{25 * step} %") for step in range(5)]
    parts = [side(quarters), bottom(ticks, span, x_label)]
    parts += [_band(one, span) for one in series]
    parts += [_line(one, span) for one in series]
    parts += [_values(one, span) for one in series if len(series) == 1]
    said = [
        f"{one.label}: {', '.join(f'{_percent(p)} at {p.text}' for p in one.points if p.text is not None)}"
        for one in series
    ]
    return figure(title, "; ".join(said), parts)


def histogram(bars: Bars, *, title: str, x_label: str, style: int = 0, tallest: int = 0) -> str:
    """Counts over ranges of a value. `tallest` is the height that the axis has at least, to compare histograms."""
    top = round_up(max(tallest, 1, *bars.counts))
    span = (bars.edges[0], bars.edges[-1])
    parts = [f'<g class="{colour(style)}">', side([(n / top, str(n)) for n in (0, top // 2, top)])]
    parts.append(bottom(bars.ticks, span, x_label))
    for left, right, count in zip(bars.edges, bars.edges[1:], bars.counts):
        if count:
            x, wide = place_x(left, span) + 0.75, place_x(right, span) - place_x(left, span) - 1.5
            tall = (FLOOR - TOP) * count / top
            box = f'x="{x:.1f}" y="{FLOOR - tall:.1f}" width="{max(wide, 1.0):.1f}" height="{tall:.1f}"'
            parts.append(f'<rect class="fill" {box} rx="1.5"/>')
    return figure(title, f"{sum(bars.counts)} pictures", [*parts, "</g>"])


def round_up(count: int) -> int:
    """The smallest of 2, 4, 6, 10, 20, 40, 60, 100, ... that is no smaller, so that its half is whole."""
    scale = 1
    while 10 * scale < count:
        scale *= 10
    return next(base * scale for base in (2, 4, 6, 10) if base * scale >= count)


def _band(one: Series, span: Span) -> str:
    upper = [(place_x(point.eps, span), place_y(point.high)) for point in one.points]
    lower = [(place_x(point.eps, span), place_y(point.low)) for point in one.points]
    return band(one.style, upper, lower)


def _line(one: Series, span: Span) -> str:
    places = [(place_x(point.eps, span), place_y(point.rate)) for point in one.points]
    named = (place for place, point in zip(places, one.points) if point.text is not None)
    marks = "".join(mark(one.style, x, y, 5) for x, y in named)
    return line(one.style, places, marks)


def _values(one: Series, span: Span) -> str:
    """The rate beside each point, right above it; those without room left out, the last one kept.

    The last one stands left below its point, where the falling line is not, unless the axis is there.
    """
    *others, last = [point for point in one.points if point.text is not None]
    end = place_x(last.eps, span) + 4
    y = place_y(last.rate) + (22 if last.rate > 0.15 else -10)
    parts = [text(end, y, _percent(last), "end", "value")] if others else []
    limit, free = end - LETTER * len(_percent(last)), 0.0
    for point in others or [last]:
        x = place_x(point.eps, span) + 7
        if x >= free and (x + LETTER * len(_percent(point)) <= limit or not others):
            parts.append(text(x, place_y(point.rate) - 10, _percent(point), "start", "value"))
            free = x + LETTER * len(_percent(point))
    return "".join(parts)


def _percent(point: Point) -> str:
    return f"{100 * point.rate:.1f} %"

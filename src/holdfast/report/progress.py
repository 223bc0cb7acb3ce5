"""Values over the epochs of a training, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from holdfast.drawing.axes import FLOOR, TOP, Span, bottom, figure, place_x, place_y, side, text
from holdfast.drawing.marks import mark
from holdfast.drawing.strokes import band, line
from holdfast.report.scale import Scale

MOST_MARKS = 30  # epochs from which on the line goes without marks
MOST_TICKS = 8


@dataclass(frozen=True)
class Line:
    """One value over the epochs: `points` are (epoch, value); `bands` the ends of their intervals, or nothing."""

    label: str
    style: int
    points: tuple[tuple[int, float], ...]
    bands: tuple[tuple[float, float], ...] = ()
    kept: int | None = None  # the epoch whose weights are kept
    dashed: bool = False


def progress(lines: Sequence[Line], scale: Scale, *, title: str, guide: bool, resumed: Sequence[int] = ()) -> str:
    """All lines over one axis of epochs, the kept epoch ringed.

    With `guide`, which is for one run alone, an upright line through the kept epoch too; `resumed` are epochs before
    which the run was interrupted.
    """
    epochs = sorted({epoch for one in lines for epoch, _ in one.points})
    span = (float(epochs[0]), float(epochs[-1])) if len(epochs) > 1 else (epochs[0] - 0.5, epochs[0] + 0.5)
    parts = [side(scale.ticks), bottom(_ticks(epochs), span, "epoch")]
    parts += [_upright(place_x(max(epoch - 0.5, span[0]), span), "cut") for epoch in resumed]
    kept = next((one.kept for one in lines if one.kept is not None), None)
    if guide and kept is not None:
        parts += [_upright(place_x(kept, span), "guide"), _named(place_x(kept, span), "kept")]
    parts += [_band(one, span, scale) for one in lines if one.bands]
    parts += [_line(one, span, scale) for one in lines]
    return figure(title, "; ".join(_said(one) for one in lines), parts)


def _ticks(epochs: Sequence[int]) -> list[tuple[float, str]]:
    """The epochs that are written: as many as fit, at even distances, and the last."""
    gaps = (base * 10**power for power in count() for base in (1, 2, 5))
    gap = next(gap for gap in gaps if gap * MOST_TICKS >= epochs[-1])
    shown = [epoch for epoch in epochs if epoch % gap == 0 or epoch == epochs[0] == 1]
    last = epochs[-1]
    shown = [epoch for epoch in shown if last - epoch >= gap / 2 or epoch == last]
    return [(float(epoch), str(epoch)) for epoch in dict.fromkeys([*shown, last])]


def _upright(x: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{FLOOR}"/>'


def _named(x: float, content: str) -> str:
    return text(x, TOP - 9, content, "middle", "value")


def _band(one: Line, span: Span, scale: Scale) -> str:
    places = [place_x(epoch, span) for epoch, _ in one.points]
    lower = [(x, place_y(scale.share(low))) for x, (low, _) in zip(places, one.bands, strict=True)]
    upper = [(x, place_y(scale.share(high))) for x, (_, high) in zip(places, one.bands, strict=True)]
    return band(one.style, upper, lower)


def _line(one: Line, span: Span, scale: Scale) -> str:
    places = [(place_x(epoch, span), place_y(scale.share(value))) for epoch, value in one.points]
    marked = len(places) <= MOST_MARKS and (len(places) == 1 or not one.dashed)
    marks = "".join(mark(one.style, x, y, 4) for x, y in places) if marked else ""
    rings = [place for place, (epoch, _) in zip(places, one.points, strict=True) if epoch == one.kept]
    marks += "".join(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="8.5"/>' for x, y in rings)
    return line(one.style, places, marks, dashed=one.dashed)


def _said(line: Line) -> str:
    """The line in words: its ends, and its value where the weights are kept."""
    (first, begin), (last, end) = line.points[0], line.points[-1]
    kept = [f", {value:.4g} at epoch {epoch}, which is kept" for epoch, value in line.points if epoch == line.kept]
    return f"{line.label}: {begin:.4g} at epoch {first}, {end:.4g} at epoch {last}{''.join(kept)}"

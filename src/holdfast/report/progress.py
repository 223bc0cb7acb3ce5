"""Values over the epochs of a training, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.drawing.axes import FLOOR, TOP, Span, bottom, figure, place_x, place_y, side, text
from holdfast.drawing.marks import colour, mark
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
    epochs = sorted({epoch for line in lines for epoch, _ in line.points})
    span = (float(epochs[0]), float(epochs[-1])) if len(epochs) > 1 else (epochs[0] - 0.5, epochs[0] + 0.5)
    parts = [side(scale.ticks), bottom(_ticks(epochs), span, "epoch")]
    parts += [_upright(place_x(max(epoch - 0.5, span[0]), span), "cut") for epoch in resumed]
    kept = next((line.kept for line in lines if line.kept is not None), None)
    if guide and kept is not None:
        parts += [_upright(place_x(kept, span), "guide"), _named(place_x(kept, span), "kept")]
    parts += [_band(line, span, scale) for line in lines if line.bands]
    parts += [_line(line, span, scale) for line in lines]
    return figure(title, "; ".join(_said(line) for line in lines), parts)


def _ticks(epochs: Sequence[int]) -> list[tuple[float, str]]:
    """The epochs that are written: as many as fit, at even distances, and the last."""
    gap = next(base * scale for scale in (1, 10, 100, 1000, 10000) for base in (1, 2, 5)
               if base * scale * MOST_TICKS >= epochs[-1])  # fmt: skip
    shown = [epoch for epoch in epochs if epoch % gap == 0 or epoch == epochs[0] == 1]
    last = epochs[-1]
    shown = [epoch for epoch in shown if last - epoch >= gap / 2 or epoch == last]
    return [(float(epoch), str(epoch)) for epoch in dict.fromkeys([*shown, last])]


def _upright(x: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{FLOOR}"/>'


def _named(x: float, content: str) -> str:
    return text(x, TOP - 9, content, "middle", "value")


def _band(line: Line, span: Span, scale: Scale) -> str:
    places = [place_x(epoch, span) for epoch, _ in line.points]
    lower = [(x, place_y(scale.share(low))) for x, (low, _) in zip(places, line.bands, strict=True)]
    upper = [(x, place_y(scale.share(high))) for x, (_, high) in zip(places, line.bands, strict=True)]
    return f'<polygon class="band {colour(line.style)}" points="{_path([*upper, *reversed(lower)])}"/>'


def _line(line: Line, span: Span, scale: Scale) -> str:
    places = [(place_x(epoch, span), place_y(scale.share(value))) for epoch, value in line.points]
    marked = len(places) <= MOST_MARKS and (len(places) == 1 or not line.dashed)
    marks = "".join(mark(line.style, x, y, 4) for x, y in places) if marked else ""
    rings = [place for place, (epoch, _) in zip(places, line.points, strict=True) if epoch == line.kept]
    marks += "".join(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="8.5"/>' for x, y in rings)
    dash = " dash" if line.dashed else ""
    return f'<g class="{colour(line.style)}"><polyline class="line{dash}" points="{_path(places)}"/>{marks}</g>'


def _said(line: Line) -> str:
    """The line in words: its ends, and its value where the weights are kept."""
    (first, begin), (last, end) = line.points[0], line.points[-1]
    kept = [f", {value:.4g} at epoch {epoch}, which is kept" for epoch, value in line.points if epoch == line.kept]
    return f"{line.label}: {begin:.4g} at epoch {first}, {end:.4g} at epoch {last}{''.join(kept)}"


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

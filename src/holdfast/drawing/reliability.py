"""A reliability diagram: how right a classifier is when it is so sure, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from holdfast.drawing.axes import FLOOR, HEIGHT, bottom, figure, place_x, place_y, side
from holdfast.drawing.marks import colour

UNIT = (0.0, 1.0)
COUNTS = 74  # height of the strip with the counts, under the diagram
OVER, UNDER, EVEN = "too sure", "not sure enough", "as sure as right"


@dataclass(frozen=True)
class Bin:
    """Values in (low, high]; `confidence` and `accuracy` are None where `n` is 0."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None

    @property
    def state(self) -> str:
        """Whether its pictures are said with more confidence than they are right, or with less; empty without any."""
        if self.confidence is None or self.accuracy is None:
            return ""
        if self.confidence == self.accuracy:
            return EVEN
        return OVER if self.confidence > self.accuracy else UNDER


def reliability(bins: Sequence[Bin], *, title: str, style: int = 1) -> str:
    """Bars of accuracy over confidence, the gap to the mean confidence marked, and a strip with the counts below.

    Gaps of bins that are too sure lie above their bar and carry a minus, for what is missing; those that are not sure
    enough are cut into it and carry a plus. On the dashed line confidence is accuracy.
    """
    fifths = [(step / 5, f"{20 * step} %") for step in range(6)]
    parts = [side(fifths), bottom(fifths, UNIT, "confidence")]
    parts.append(f'<g class="{colour(style)}">{"".join(_bar(one) for one in bins)}</g>')
    x, y = (place_x(0, UNIT), place_x(1, UNIT)), (place_y(0), place_y(1))
    ends = f'x1="{x[0]:.1f}" y1="{y[0]:.1f}" x2="{x[1]:.1f}" y2="{y[1]:.1f}"'
    parts.append(f'<line {ends} stroke="currentColor" stroke-width="1.2" stroke-dasharray="7 6"/>')
    parts += [_gap(one) for one in bins]
    parts.append(f'<g class="{colour(style)}">{_counts(bins)}</g>')
    total = sum(one.n for one in bins)
    said = [f"{one.state} in {sum(b.state == one.state for b in bins)} bins" for one in _first_of_each(bins)]
    return figure(title, f"{total} pictures; {', '.join(said)}", parts, HEIGHT + COUNTS)


def _first_of_each(bins: Sequence[Bin]) -> list[Bin]:
    return list({one.state: one for one in bins if one.state}.values())


def _span(one: Bin) -> tuple[float, float]:
    """Left end and width of its column."""
    left = place_x(one.low, UNIT)
    return left + 0.75, max(place_x(one.high, UNIT) - left - 1.5, 0.5)


def _box(one: Bin, top: float, low: float, kind: str) -> str:
    left, wide = _span(one)
    return f'<rect {kind} x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{max(low - top, 0):.1f}"/>'


def _bar(one: Bin) -> str:
    return "" if one.accuracy is None else _box(one, place_y(one.accuracy), FLOOR, 'class="fill"')


def _gap(one: Bin) -> str:
    """The box between accuracy and mean confidence, with its sign."""
    if one.confidence is None or one.accuracy is None or one.state == EVEN:
        return ""
    over = one.state == OVER
    top, low = sorted((place_y(one.confidence), place_y(one.accuracy)))
    tone = "bad" if over else "warn"
    look = f'fill="var(--{tone}-back)" stroke="var(--{tone})"'
    told = f"{one.low:.3g} to {one.high:.3g}: {one.state}, {one.n} pictures, "
    told += f"confidence {100 * one.confidence:.1f} %, accuracy {100 * one.accuracy:.1f} %"
    left, wide = _span(one)
    sign = (
        f'<text class="value" x="{left + wide / 2:.1f}" y="{top - 4:.1f}" text-anchor="middle">'
        f"{'−' if over else '+'}</text>"
    )
    return f"<g><title>{escape(told)}</title>{_box(one, top, low, look)}{sign}</g>"


def _counts(bins: Sequence[Bin]) -> str:
    """Bars that hang from a line, as long as the share of pictures, with the numbers along them."""
    top, most = HEIGHT + 4, max((one.n for one in bins), default=0) or 1
    parts = []
    for one in bins:
        if not one.n:
            continue
        left, wide = _span(one)
        tall = (COUNTS - 12) * one.n / most
        parts.append(_box(one, top, top + max(tall, 1.0), 'class="band"'))
        x, y = left + wide / 2 + 3.5, top + 3
        turned = f'transform="rotate(90 {x - 7:.1f} {y:.1f})" style="font-size: 11px"'
        parts.append(f'<text class="tick" x="{x - 7:.1f}" y="{y:.1f}" {turned}>{one.n:,}</text>')
    return "".join(parts)

"""The drawing area of a figure: places for values, grid lines, ticks and labels, as SVG text."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 24, 52  # margins
FLOOR = HEIGHT - BOTTOM  # where the lower axis lies
LETTER = 9.4  # width of a letter of the labels at their largest, which is on a phone

Span = tuple[float, float]  # the values at the left and at the right end of the lower axis


def place_x(value: float, span: Span) -> float:
    """Where a value of the lower axis lies."""
    low, high = span
    return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / ((high - low) or 1.0)


def place_y(share: float) -> float:
    """Where a share of the height lies, 0 on the lower axis and 1 at the top."""
    return FLOOR - (FLOOR - TOP) * share


def text(x: float, y: float, content: str, anchor: str = "middle", kind: str = "tick") -> str:
    """A piece of text, escaped."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def side(ticks: Sequence[tuple[float, str]]) -> str:
    """Grid lines with labels at shares of the height."""
    parts = []
    for share, label in ticks:
        y, kind = place_y(share), "grid" if share else "axis"
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(LEFT - 8, y + 4.5, label, "end"))
    return "".join(parts)


def bottom(ticks: Sequence[tuple[float, str]], span: Span, label: str) -> str:
    """Ticks with as many labels as fit: the last one always, the others from the left where there is room."""
    parts, free = [], 0.0
    last = place_x(ticks[-1][0], span) - LETTER * len(ticks[-1][1]) / 2 if ticks else 0.0
    for number, (value, name) in enumerate(ticks, 1):
        x, half = place_x(value, span), LETTER * len(name) / 2
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{FLOOR}" y2="{FLOOR + 5}"/>')
        if number == len(ticks) or (x - half >= free and x + half <= last):
            parts.append(text(min(x, WIDTH - half + 8), FLOOR + 22, name))
            free = x + half
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, label, kind="label"))
    return "".join(parts)


def figure(title: str, description: str, parts: Sequence[str], height: float = HEIGHT) -> str:
    """A whole figure, told in words to those who do not see it."""
    told = escape(f"{title}. {description}", quote=True)
    head = f'<svg class="figure" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{told}">'
    return head + "".join(parts) + "</svg>"

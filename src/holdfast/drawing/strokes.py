"""What lines over an axis are made of, as SVG text: the line with its marks, and the band about it."""

from collections.abc import Sequence

from holdfast.drawing.marks import colour

Places = Sequence[tuple[float, float]]  # (x, y) in the figure, from left to right


def line(style: int, places: Places, marks: str = "", *, dashed: bool = False) -> str:
    """A line through all places, and `marks`, which is SVG, in its colour."""
    dashes = ' stroke-dasharray="7 6"' if dashed else ""
    return f'<g class="{colour(style)}"><polyline class="line"{dashes} points="{path(places)}"/>{marks}</g>'


def band(style: int, upper: Places, lower: Places) -> str:
    """The area between two lines."""
    return f'<polygon class="band {colour(style)}" points="{path([*upper, *reversed(lower)])}"/>'


def path(places: Places) -> str:
    """Places as SVG has them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)

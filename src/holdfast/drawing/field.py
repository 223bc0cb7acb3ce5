"""A square field in two dimensions: where each of two classes is said, the points, and a box around each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.axes import WIDTH, figure
from holdfast.drawing.marks import colour, mark

SIDE = float(WIDTH)  # of the field, which fills its figure


def field(
    said: NDArray[np.bool_], points: Sequence[tuple[float, float, int]], eps: float, cut: Sequence[bool], *, title: str
) -> str:
    """The unit square, first axis to the right and second one upwards.

    Args: `said` (G, G) at the middles of G x G cells, rows from the bottom: whether class 1 is said there; `points`
    (x, y, class); `eps` half the side of the boxes around them; `cut` for each whether the boundary cuts its box.
    """
    parts = [f'<g class="{colour(1)}">{"".join(_rows(said))}</g>']
    parts.append(f'<rect class="frame" x="0" y="0" width="{SIDE:.1f}" height="{SIDE:.1f}"/>')
    for (x, y, label), is_cut in zip(points, cut, strict=True):
        left, top = SIDE * (x - eps), SIDE * (1 - y - eps)
        line = 'stroke="var(--bad)" stroke-width="2"' if is_cut else 'stroke="currentColor" stroke-width="1"'
        box = f'x="{left:.1f}" y="{top:.1f}" width="{2 * eps * SIDE:.1f}" height="{2 * eps * SIDE:.1f}"'
        parts.append(f'<rect {box} fill="none" {line}/>')
        dot = mark(label, SIDE * x, SIDE * (1 - y), 5)
        parts.append(f'<g class="{colour(label)}">{dot}</g>')
    return figure(title, f"{len(points)} points; the boundary cuts {sum(cut)} of the boxes around them", parts, SIDE)


def _rows(said: NDArray[np.bool_]) -> list[str]:
    """One rectangle for each stretch of cells with class 1 in a row: far fewer than cells."""
    count, cell = len(said), SIDE / len(said)
    found = []
    for row, values in enumerate(said):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [False]]).astype(np.int8)))
        for start, end in zip(edges[::2], edges[1::2]):
            box = f'x="{start * cell:.2f}" y="{(count - 1 - row) * cell:.2f}"'
            size = f'width="{(end - start) * cell:.2f}" height="{cell + 0.05:.2f}"'
            found.append(f'<rect class="band" {box} {size}/>')
    return found

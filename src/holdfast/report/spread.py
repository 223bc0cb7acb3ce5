"""How the search went: in which round pictures broke and how large a change it took, as histogram bars."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.report import words
from holdfast.report.figures import Bars
from holdfast.report.run import Run

MOST_BARS = 40
SIZE_BARS = 24


def rounds(runs: Sequence[Run]) -> list[Bars | None]:
    """For each run the rounds in which its broken pictures were found, at the smallest radius that broke each.

    All runs share one axis. None for a run without records, without that column, or with nothing broken.
    """
    values = [_at_first_eps(run, "step") for run in runs]
    values = [None if value is None else value[value >= 0] for value in values]
    last = max((int(value.max()) for value in values if value is not None and len(value)), default=0)
    width = -(-(last + 1) // MOST_BARS)
    edges = [start - 0.5 for start in range(0, last + width + 1, width)]
    gap = max(1, width * round(len(edges) / 5))
    ticks = [(float(place), str(place)) for place in range(0, last + 1, gap)]
    return [_bars(value, edges, ticks) for value in values]


def sizes(runs: Sequence[Run]) -> list[Bars | None]:
    """For each run the size of the change that broke each picture, at the smallest radius that did, or at any.

    All runs share one axis from 0 to the largest radius, or to the largest change found. None as for `rounds`.
    """
    values = [_smallest(run) if sought(run) else _at_first_eps(run, "size") for run in runs]
    radii = {point["eps"]: words.radius(point) for run in runs for point in run.summary["curve"]}
    furthest = max(
        (float(v.max()) for v, run in zip(values, runs) if sought(run) and v is not None and len(v)), default=0
    )
    if furthest > max(radii):
        radii[furthest] = words.size(furthest, next(iter(radii.values())))
    widest = max(radii) or 1.0
    # Sizes sit exactly on a radius, up to one float32 step on either side: bins must not split them there.
    edges = [widest * (place - 0.5) / SIZE_BARS for place in range(SIZE_BARS + 2)]
    ticks = [(0.0, "0"), *sorted(radii.items())]
    return [_bars(value, edges, ticks) for value in values]


def sought(run: Run) -> bool:
    """Whether the smallest change was sought, whatever the radius."""
    return run.records is not None and run.records.smallest is not None


def _smallest(run: Run) -> NDArray[np.float64] | None:
    """The sizes of the smallest changes that were found of pictures that were right."""
    records = run.records
    if records is None or records.smallest is None:
        return None
    return records.smallest[records.right & np.isfinite(records.smallest)]


def _at_first_eps(run: Run, table: str) -> NDArray[np.float64] | None:
    records = run.records
    if records is None or table not in records.tables:
        return None
    first = records.first_eps()
    places = np.flatnonzero(first >= 0)
    return records.tables[table][first[places], places].astype(np.float64)


def _bars(
    values: NDArray[np.float64] | None,
    edges: Sequence[float],
    ticks: Sequence[tuple[float, str]],
) -> Bars | None:
    if values is None or not len(values):
        return None
    counts, _ = np.histogram(values, edges)
    return Bars(tuple(edges), tuple(int(count) for count in counts), tuple(ticks))

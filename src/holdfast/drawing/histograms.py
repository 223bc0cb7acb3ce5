"""Histograms of several sets over one axis, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.axes import FLOOR, bottom, figure, place_x, place_y, side
from holdfast.drawing.charts import UNIT
from holdfast.drawing.scales import Scale, covering
from holdfast.drawing.strokes import band, line

BEYOND = 0.005  # share of a set at either end that the axis need not hold


@dataclass(frozen=True, eq=False)
class Values:
    """One set: its values (n,), finite, and the colour they are drawn in."""

    label: str
    style: int
    values: NDArray[np.float64]


def histogram(sets: Sequence[Values], *, title: str, x_label: str, bins: int = 40) -> str:
    """The share of each set in each of `bins` equal bins, as stairs above one another.

    The axis holds all but half a percent of a set at either end; what lies beyond is counted in the outermost bins.
    """
    scale = covering([float(v) for one in sets for v in _ends(one.values)], zero=False)
    edges = np.linspace(scale.low, scale.high, bins + 1)
    shares = [np.histogram(one.values.clip(scale.low, scale.high), edges)[0] / len(one.values) for one in sets]
    high = covering([float(s) for each in shares for s in each], percent=True)
    parts = [side([(high.share(value), name) for value, name in high.ticks()])]
    parts.append(bottom([(scale.share(value), name) for value, name in scale.ticks()], UNIT, x_label))
    stairs = [_stairs(each, high, bins) for each in shares]
    for one, places in zip(sets, stairs, strict=True):
        parts.append(band(one.style, places, [(places[0][0], FLOOR), (places[-1][0], FLOOR)]))
    parts += [line(one.style, places) for one, places in zip(sets, stairs, strict=True)]
    told = "; ".join(f"{one.label}: median {scale.text(float(np.median(one.values)))}" for one in sets)
    return figure(title, told, parts)


def _ends(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.quantile(values, (BEYOND, 1 - BEYOND))


def _stairs(shares: NDArray[np.float64], high: Scale, bins: int) -> list[tuple[float, float]]:
    corners = [(0.0, 0.0)]
    for number, share in enumerate(shares.tolist()):
        corners += [(number / bins, high.share(share)), ((number + 1) / bins, high.share(share))]
    return [(place_x(across, UNIT), place_y(up)) for across, up in [*corners, (1.0, 0.0)]]

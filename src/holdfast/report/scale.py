"""The upright axis of a figure: which values it spans, and which of them are written beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

DECADES = 100.0  # how often the smallest value goes into the largest, from which on an axis may be logarithmic
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
FEWEST = 4  # parts that a linear axis has at most
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, by their logarithms or not; `ticks` are (share of the height, text)."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[tuple[float, str], ...]
    unit: str = ""  # the power of ten that the texts leave out, as " (× 10⁻³)"

    def share(self, value: float) -> float:
        """Where a value lies, as a share of the height; what is outside, at the end."""
        place = math.log10(max(value, 1e-300)) if self.logarithmic else value
        return min(max((place - self.low) / (self.high - self.low), 0.0), 1.0)


def percent() -> Scale:
    """From 0 to 100 %."""
    return Scale(0.0, 1.0, False, tuple((step / 4, f"{25 * step} %") for step in range(5)))


def fitting(values: Sequence[float], *, decades: bool = False) -> Scale:
    """An axis from 0, or the lowest value below, to the highest.

    With `decades` it is logarithmic where all values are above 0 and span a factor of 100.
    """
    if decades and values and min(values) > 0 and max(values) >= DECADES * min(values):
        return _by_decades(min(values), max(values))
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    step = _step((high - low) or 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) or 1
    largest = max(abs(first), abs(last)) * step
    power = math.floor(math.log10(largest) + 1e-9) if largest < 0.01 or largest >= 10_000 else 0
    ticks = [((n - first) / (last - first), f"{n * step / 10.0**power:.4g}") for n in range(first, last + 1)]
    return Scale(first * step, last * step, False, tuple(ticks), f" (× {ten(power)})" if power else "")


def ten(power: int) -> str:
    """A power of ten as it is printed."""
    return f"10{str(power).translate(RAISED)}"


def _step(width: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that divides a width into few parts."""
    scale = 10.0 ** math.floor(math.log10(width / FEWEST))
    return next(base * scale for base in STEPS if base * scale * FEWEST >= width * (1 - 1e-9))


def _by_decades(smallest: float, largest: float) -> Scale:
    low, high = math.floor(math.log10(smallest)), math.ceil(math.log10(largest))
    gap = -(-(high - low) // 5)
    ticks = [((power - low) / (high - low), _plainly(power)) for power in range(low, high + 1, gap)]
    return Scale(low, high, True, tuple(ticks))


def _plainly(power: int) -> str:
    return f"{10.0**power:g}" if -2 <= power <= 3 else ten(power)

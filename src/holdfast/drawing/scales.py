"""An axis of numbers: from values to shares of its length, linear or logarithmic, with round ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # what a tick may be a multiple of, times a power of ten
MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """`low` < `high` are the values at its ends; `log` spaces powers of ten evenly; `percent` writes shares as such."""

    low: float
    high: float
    log: bool = False
    percent: bool = False

    def share(self, value: float) -> float:
        """0 at `low`, 1 at `high`; what lies outside, at the end."""
        low, high, value = (math.log10(max(v, 1e-300)) if self.log else v for v in (self.low, self.high, value))
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """(value, text), ascending."""
        return [(value, self.text(value)) for value in (self._powers() if self.log else self._multiples())]

    def text(self, value: float) -> str:
        """A value as people write it."""
        if self.percent:
            return f"{100 * value:.4g} %"
        if 1e4 <= abs(value) < 1e7:
            return f"{value:,.0f}"
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")

    def _multiples(self) -> list[float]:
        rough = (self.high - self.low) / (MOST_TICKS - 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in STEPS if s * power >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]

    def _powers(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first <= 2:  # room for more than powers
            finer = [base * 10.0**n for n in range(first - 1, last + 1) for base in (1, 2, 5)]
            return [v for v in finer if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)] or [self.low, self.high]
        every = -(-(last - first) // (MOST_TICKS - 1))
        return [10.0**n for n in range(first, last + 1, every)]


def covering(
    values: Sequence[float], *, log: bool = False, percent: bool = False, zero: bool = True, round_ends: bool = False
) -> Scale:
    """A scale that holds all finite values (positive ones if `log`), from 0 if `zero` and they are not below it.

    A scale of shares that comes near 1 ends there. `round_ends` widens a logarithmic one to 1, 2 or 5 times a power.
    """
    kept = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0]
    low, high = min(kept), max(kept)
    if log:
        low, high = (_rounded(low, up=False), _rounded(high, up=True)) if round_ends else (low, high)
        return Scale(low, high, log, percent) if high > low else Scale(low / 10, high * 10, log, percent)
    low = 0.0 if zero and low >= 0 else low
    if percent and 0.6 < high <= 1:
        high = 1.0
    if high <= low:
        high = low + (abs(low) or 1.0)
    return Scale(low, high, log, percent)


def _rounded(value: float, *, up: bool) -> float:
    """The nearest of 1, 2, 5 times a power of ten that is no smaller, or no larger."""
    power = 10.0 ** math.floor(math.log10(value) + 1e-12)
    bases = (1, 2, 5, 10)
    if up:
        return next(base * power for base in bases if base * power >= value * (1 - 1e-9))
    return next(base * power for base in reversed(bases) if base * power <= value * (1 + 1e-9))

"""Checks of options that several augmentations share."""

import math
from typing import Any

from holdfast.options import refused


def whole(record: Any, name: str, lowest: int) -> None:
    """Raise unless the option is a whole number not below `lowest`."""
    value = getattr(record, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise refused(record, name, f"a whole number from {lowest} up", f"For the least, pass {name}={lowest}.")


def between(record: Any, name: str, lowest: float, highest: float, mend: str) -> None:
    """Raise unless the option is a number from `lowest` to `highest`; NaN is not."""
    value = getattr(record, name)
    if not lowest <= value <= highest:
        raise refused(record, name, f"a number from {lowest:g} to {highest:g}", mend)


def chance(record: Any) -> None:
    """Raise unless the option `chance` is a number from 0 to 1."""
    between(record, "chance", 0, 1, "For one picture in two, pass chance=0.5.")


def bounds(record: Any, name: str, lowest: float, highest: float, mend: str) -> None:
    """Raise unless the option is a pair of numbers in order, both from `lowest` to `highest`."""
    value = getattr(record, name)
    pair = isinstance(value, tuple) and len(value) == 2 and all(map(math.isfinite, value))
    if not (pair and lowest <= value[0] <= value[1] <= highest):
        allowed = f"two numbers from {lowest:g} to {highest:g}, the smaller one first"
        raise refused(record, name, allowed, mend)

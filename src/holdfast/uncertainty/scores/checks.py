"""Checks that options of several scores share."""

import math
from typing import Any

from holdfast.options import refused


def positive(record: Any, *names: str) -> None:
    """Raise unless each named option is a finite number above 0."""
    for name in names:
        value = getattr(record, name)
        if not (math.isfinite(value) and value > 0):
            raise refused(record, name, "a finite number above 0", f"For example {name}=1.")


def whole(record: Any, name: str, *, least: int) -> None:
    """Raise unless the named option is a whole number of at least `least`."""
    value = getattr(record, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise refused(record, name, f"whole numbers >= {least}", f"For example {name}={max(least, 10)}.")

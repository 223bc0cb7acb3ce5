"""Options that several attacks share, and their checks."""

import math
from typing import Any, Literal

from holdfast.options import refused

LossName = Literal["cross_entropy", "margin", "logit_difference", "dlr", "probability_margin", "log_odds"]
"""The objectives an attack may ascend, by their names in `holdfast.losses.OBJECTIVES`."""


def at_least(attack: Any, lowest: int, *names: str) -> None:
    """Raise unless each named option is a whole number not below `lowest`."""
    for name in names:
        value = getattr(attack, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise refused(attack, name, f"a whole number from {lowest} up", f"For example {name}={max(lowest, 10)}.")


def positive(attack: Any, *names: str) -> None:
    """Raise unless each named option is a finite number above 0."""
    for name in names:
        value = getattr(attack, name)
        if not math.isfinite(value) or value <= 0:
            raise refused(attack, name, "a finite number above 0", "For a step of a tenth of eps, pass 0.1.")


def not_negative(attack: Any, *names: str) -> None:
    """Raise unless each named option is a finite number, 0 or above."""
    for name in names:
        value = getattr(attack, name)
        if not math.isfinite(value) or value < 0:
            raise refused(attack, name, "a finite number, 0 or above", f"For none, pass {name}=0.")


def at_least_a_step(attack: Any) -> None:
    """Raise unless `queries` suffice for one step of an attack that asks about `breadth` points in each."""
    if attack.queries < attack.breadth:
        mend = f"A step asks about {attack.breadth} points: give more queries, or take fewer points a step."
        raise refused(attack, "queries", f"a whole number from {attack.breadth} up", mend)


def share(attack: Any, *names: str) -> None:
    """Raise unless each named option is between 0 and 1, both excluded."""
    for name in names:
        value = getattr(attack, name)
        if not 0 < value < 1:
            raise refused(attack, name, "a number between 0 and 1", f"For one part in twenty, pass {name}=0.05.")


def chance(attack: Any, *names: str) -> None:
    """Raise unless each named option is a number from 0 to 1."""
    for name in names:
        value = getattr(attack, name)
        if not 0 <= value <= 1:
            raise refused(attack, name, "a number from 0 to 1", f"For half, pass {name}=0.5.")


def odd(attack: Any, *names: str) -> None:
    """Raise unless each named option is an odd whole number from 1 up."""
    for name in names:
        value = getattr(attack, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
            raise refused(attack, name, "an odd whole number from 1 up", f"For example {name}=7; for none, {name}=1.")

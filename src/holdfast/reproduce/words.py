"""How figures of a table are written for people."""

import math
from collections.abc import Mapping
from typing import Any

from holdfast.reproduce.table import Cell, Column, Ordering

NONE = "–"
VERDICTS = {True: "held", False: "not held", None: "not measured"}


def figure(value: float | None, column: Column) -> str:
    """A number in its column's unit, shares in percent; a dash where there is none. Never 0 or 100 % for neither."""
    if value is None:
        return NONE
    if column.unit != "fraction" or not math.isfinite(value):
        return number(value)
    text = f"{100 * value:.2f}"
    if float(text) == 0 < value:
        return "< 0.01 %"
    if float(text) == 100 and value < 1:
        return "> 99.99 %"
    return f"{text} %"


def number(value: float) -> str:
    """Four digits, whole numbers in full."""
    if math.isfinite(value) and float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def spread(cell: Cell, column: Column) -> str:
    """The standard deviation over the seeds, or nothing for a single one."""
    if cell.spread is None:
        return ""
    return f"± {100 * cell.spread:.2f}" if column.unit == "fraction" else f"± {cell.spread:.2g}"


def each(cell: Cell, column: Column) -> str:
    """Every seed's number."""
    return ", ".join(f"seed {seed}: {figure(value, column)}" for seed, value in cell.seeds.items())


def judged_by(ordering: Ordering) -> str:
    """The numbers of an ordering, as they are, and how many seeds agree."""
    told = "; ".join(f"{name}: {NONE if v is None else f'{v:.4g}'}" for name, v in ordering.numbers.items())
    if len(ordering.seeds) < 2:
        return told
    return f"{told} (with {sum(ordering.seeds.values())} of {len(ordering.seeds)} seeds each alone)"


def tally(orderings: tuple[Ordering, ...]) -> str:
    """How many held."""
    count = {verdict: sum(o.held is verdict for o in orderings) for verdict in (True, False, None)}
    text = f"{count[True]} of {len(orderings)} held"
    return text + "".join(f", {count[v]} {VERDICTS[v]}" for v in (False, None) if count[v])


def flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings as dotted names and text."""
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{before}{name}.")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            found.append((f"{before}{name}", shown))
    return found

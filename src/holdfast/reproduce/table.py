"""A source's table with the published figures beside ours, and what the source says about their order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from holdfast.errors import OptionError, RunError, unknown
from holdfast.reproduce.part import Part

Published = Mapping[str, float | None]


@dataclass(frozen=True)
class Column:
    """What is measured. `unit`: "fraction" for shares in [0, 1], which people are shown in percent, else free text."""

    name: str
    unit: str = "fraction"
    about: str = ""  # one sentence


@dataclass(frozen=True)
class Cell:
    """What we measured: one number a seed, in the order of the seeds."""

    seeds: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.seeds.values())

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds (n - 1 in the divisor); None for a single seed or infinite numbers."""
        values = list(self.seeds.values())
        return stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        seeds = {str(seed): value for seed, value in self.seeds.items()}
        return {"mean": self.mean, "spread": self.spread, "seeds": seeds}


@dataclass(frozen=True)
class Row:
    """One line of the table; `parts` are the run folders, within the reproduction's own, that `ours` was read from."""

    name: str
    published: Published
    ours: Mapping[str, Cell]
    parts: tuple[str, ...]
    group: str = ""  # rows of one group make one table for people

    @property
    def columns(self) -> list[str]:
        """The names of the columns that it has anything in."""
        return list(dict.fromkeys([*self.published, *self.ours]))

    def to_plain(self) -> dict[str, Any]:
        """For JSON: `ours` has the means, `spread` each seed's number too."""
        return {
            "row": self.name,
            "group": self.group,
            "published": dict(self.published),
            "ours": {column: cell.mean for column, cell in self.ours.items()},
            "spread": {column: cell.to_plain() for column, cell in self.ours.items()},
            "parts": list(self.parts),
        }


def row(
    name: str,
    parts: Sequence[Part],
    columns: Sequence[str] | Mapping[str, str],
    *,
    published: Published | None = None,
    group: str = "",
) -> Row:
    """A row whose numbers are read out of parts, one part a seed: there is no other way to fill `ours`.

    Args: `columns` the columns that are also the names of the numbers in the parts, or column -> name.
    Raises: `OptionError` for no part, a seed twice, or a number that a part does not have; `RunError` for NaN.
    """
    read = columns if isinstance(columns, Mapping) else {column: column for column in columns}
    seeds = [part.seed for part in parts]
    if not parts or len(set(seeds)) < len(seeds):
        raise OptionError(f"row {name!r}: parts of the seeds {seeds}; allowed: one part a seed, at least one.")
    ours = {column: Cell({part.seed: _number(part, key) for part in parts}) for column, key in read.items()}
    return Row(name, dict(published or {}), ours, tuple(part.place for part in parts), group)


def _number(part: Part, key: str) -> float:
    if key not in part.found:
        raise unknown(f"number of the part {part.place}", key, part.found)
    value = part.found[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{part.place}: {key}={value!r}; allowed in a table: a number.")
    if math.isnan(value):
        raise RunError(f"{part.place}: {key} is not a number. Delete that folder, and run again with --resume.")
    return float(value)


@dataclass(frozen=True)
class Ordering:
    """What the source says of an order or a sign, and whether our numbers agree. `held` None: not measured."""

    sentence: str
    held: bool | None
    numbers: Mapping[str, float | None]  # what it was judged by
    seeds: Mapping[int, bool] = field(default_factory=dict)  # the same for every seed alone, where that can be said

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        seeds = {str(seed): held for seed, held in self.seeds.items()}
        return {"sentence": self.sentence, "held": self.held, "numbers": dict(self.numbers), "seeds": seeds}


def judged(sentence: str, held: bool | None, numbers: Mapping[str, float | None]) -> Ordering:
    """An ordering that no helper knows, judged by the caller. Not measured where a number is None."""
    return Ordering(sentence, None if None in numbers.values() else held, dict(numbers))


def descending(
    sentence: str, rows: Sequence[Row], cells: Sequence[tuple[str, str]], *, ties: bool = False, by: float = 0.0
) -> Ordering:
    """Whether the means of `cells`, each (row, column), fall from the first to the last.

    Args: `ties`: equal numbers are in order too; else each must be smaller than the one before, by more than `by`.
    Each seed is judged alone too. A cell that was not measured makes the ordering not measured. For what must rise,
    name the cells from the largest to the smallest.
    Raises: `OptionError` for fewer than two cells, or a row that is not in the table.
    """
    if len(cells) < 2:
        raise OptionError(f"descending: {len(cells)} cells; allowed: at least two. Name what is compared.")
    found = [cell_of(rows, *cell) for cell in cells]
    numbers = {f"{name}, {column}": None if cell is None else cell.mean for (name, column), cell in zip(cells, found)}
    measured = [cell for cell in found if cell is not None]
    if len(measured) < len(found):
        return Ordering(sentence, None, numbers)
    shared = [seed for seed in measured[0].seeds if all(seed in cell.seeds for cell in measured)]
    seeds = {seed: _falls([cell.seeds[seed] for cell in measured], ties, by) for seed in shared}
    return Ordering(sentence, _falls([cell.mean for cell in measured], ties, by), numbers, seeds)


def falling(sentence: str, rows: Sequence[Row], column: str, names: Sequence[str], *, by: float = 0.0) -> Ordering:
    """Whether the means of one column fall from the first to the last of the rows named; as `descending`."""
    return descending(sentence, rows, [(name, column) for name in names], by=by)


def below(
    sentence: str, rows: Sequence[Row], low: Sequence[tuple[str, str]], high: Sequence[tuple[str, str]]
) -> Ordering:
    """Whether the mean of each cell of `low` is smaller than that of each of `high`; a cell is (row, column).

    Each seed is judged alone too. A cell that was not measured makes the ordering not measured.
    Raises: `OptionError` for a row that is not in the table.
    """
    found = {cell: cell_of(rows, *cell) for cell in (*low, *high)}
    numbers = {", ".join(cell): None if one is None else one.mean for cell, one in found.items()}
    measured = {cell: one for cell, one in found.items() if one is not None}
    if len(measured) < len(found):
        return Ordering(sentence, None, numbers)

    def holds(values: Mapping[tuple[str, str], float]) -> bool:
        return max(values[cell] for cell in low) < min(values[cell] for cell in high)

    shared = set.intersection(*(set(one.seeds) for one in measured.values()))
    seeds = {seed: holds({cell: one.seeds[seed] for cell, one in measured.items()}) for seed in sorted(shared)}
    return Ordering(sentence, holds({cell: one.mean for cell, one in measured.items()}), numbers, seeds)


def near(sentence: str, rows: Sequence[Row], cells: Sequence[tuple[str, str]], *, within: float) -> Ordering:
    """Whether the means of `cells` lie within `within` of the published figures, which they must have."""
    found = [cell_of(rows, *cell) for cell in cells]
    wanted = [_named(rows, name).published[column] for name, column in cells]
    numbers: dict[str, float | None] = {}
    for (name, column), cell, figure in zip(cells, found, wanted):
        numbers[f"{name}, {column}"] = None if cell is None else cell.mean
        numbers[f"{name}, {column}, published"] = figure
    pairs = [(cell.mean, figure) for cell, figure in zip(found, wanted) if cell is not None and figure is not None]
    held = all(abs(ours - figure) <= within for ours, figure in pairs)
    return Ordering(sentence, held if len(pairs) == len(cells) else None, numbers)


def cell_of(rows: Sequence[Row], name: str, column: str) -> Cell | None:
    """What was measured of a row in a column; None where nothing was. Raises: `OptionError` for an unknown row."""
    return _named(rows, name).ours.get(column)


def mean_of(rows: Sequence[Row], name: str, column: str) -> float:
    """The mean of a cell that was measured. Raises: `OptionError` for an unknown row, or a cell that was not."""
    row = _named(rows, name)
    if column not in row.ours:
        raise unknown(f"column measured of the row {name!r}", column, row.ours)
    return row.ours[column].mean


def _named(rows: Sequence[Row], name: str) -> Row:
    for one in rows:
        if one.name == name:
            return one
    raise unknown("row", name, [one.name for one in rows])


def _falls(values: Sequence[float], ties: bool, by: float) -> bool:
    return all(a >= b if ties else a > b + by for a, b in zip(values, values[1:]))


@dataclass(frozen=True)
class Plot:
    """A figure for the page: `svg` as `holdfast.drawing` makes it, `legend` (label, style) for what it tells apart."""

    title: str
    svg: str
    caption: str = ""
    legend: tuple[tuple[str, int], ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Table:
    """What a reproduction comes to.

    Raises: `OptionError` for two rows of one name, or a row with a column that is not listed.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    orderings: tuple[Ordering, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [one.name for one in self.rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise OptionError(f"Table: rows called {twice} twice; allowed: each name once. Name them apart.")
        known = [column.name for column in self.columns]
        for one in self.rows:
            for column in one.columns:
                if column not in known:
                    raise unknown(f"column of the row {one.name!r}", column, known)

    def groups(self) -> list[tuple[str, list[Column], list[Row]]]:
        """(group, the columns that its rows use, its rows), in the order of the rows."""
        found = []
        for group in dict.fromkeys(one.group for one in self.rows):
            rows = [one for one in self.rows if one.group == group]
            used = [column for column in self.columns if any(column.name in one.columns for one in rows)]
            found.append((group, used, rows))
        return found


def joined(tables: Sequence[Table]) -> Table:
    """Several tables as one, each column once. Raises: as `Table`, and where columns of one name differ."""
    columns: dict[str, Column] = {}
    for column in (column for table in tables for column in table.columns):
        if columns.setdefault(column.name, column) != column:
            raise OptionError(f"joined: two columns called {column.name!r} differ; allowed: alike. Name them apart.")
    return Table(
        tuple(columns.values()),
        tuple(one for table in tables for one in table.rows),
        tuple(one for table in tables for one in table.orderings),
        tuple(one for table in tables for one in table.plots),
        tuple(one for table in tables for one in table.notes),
    )

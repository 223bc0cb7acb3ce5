"""What charts of reproductions share: the points of a course over epochs, bars of a column, legends."""

from collections.abc import Iterable, Sequence

from holdfast.drawing.charts import Bar, Line
from holdfast.reproduce.table import Row, mean_of


def by_epoch(values: Iterable[float]) -> tuple[tuple[float, float], ...]:
    """(epoch, value), epochs counted from 1."""
    return tuple((float(epoch), value) for epoch, value in enumerate(values, start=1))


def bar_of(rows: Sequence[Row], names: Sequence[str], column: str, style: int) -> Bar:
    """The means of one column, a bar for each of the rows named."""
    return Bar(column, style, tuple(mean_of(rows, name, column) for name in names))


def legend(series: Sequence[Line] | Sequence[Bar]) -> tuple[tuple[str, int], ...]:
    """(label, style) of each."""
    return tuple((one.label, one.style) for one in series)

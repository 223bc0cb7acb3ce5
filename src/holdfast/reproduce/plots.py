"""What charts of reproductions share: the points of a course over epochs or severities, bars of a column, legends."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from holdfast.drawing.charts import Bar, Line, lines
from holdfast.reproduce import shifted
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Plot, Row, mean_of


def by_epoch(values: Iterable[float]) -> tuple[tuple[float, float], ...]:
    """(epoch, value), epochs counted from 1."""
    return tuple((float(epoch), value) for epoch, value in enumerate(values, start=1))


def bar_of(rows: Sequence[Row], names: Sequence[str], column: str, style: int) -> Bar:
    """The means of one column, a bar for each of the rows named."""
    return Bar(column, style, tuple(mean_of(rows, name, column) for name in names))


def legend(series: Sequence[Line] | Sequence[Bar]) -> tuple[tuple[str, int], ...]:
    """(label, style) of each."""
    return tuple((one.label, one.style) for one in series)


def over_severity(parts: Sequence[Part], what: str, title: str, group: str, names: Sequence[str]) -> Plot:
    """Means over corruptions and seeds, a line for each network that `shifted.look` left as "looked" in the parts."""
    drawn = []
    for style, name in enumerate(names):
        means = {
            severity: fmean(shifted.at(part.found["looked"][name], what, severity) for part in parts)
            for severity in (0, *shifted.SEVERITIES)
        }
        drawn.append(Line(name, style, tuple((float(severity), mean) for severity, mean in means.items())))
    svg = lines(drawn, title=title, x_label="severity, 0 clean", percent=True)
    return Plot(title, svg, "Means over corruptions and seeds.", legend(drawn), group)

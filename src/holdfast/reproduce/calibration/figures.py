"""The charts: the errors of all methods, and reliability diagrams before and after temperature scaling."""

from collections.abc import Mapping, Sequence

from holdfast.drawing.charts import Bar, bars
from holdfast.drawing.reliability import Bin, reliability
from holdfast.reproduce.calibration.measuring import DIAGRAMS
from holdfast.reproduce.calibration.settings import (
    BAYES,
    HISTOGRAM,
    ISOTONIC,
    MATRIX,
    ODIR,
    RESNET,
    SHORT,
    TEMPERATURE,
    UNCALIBRATED,
    VECTOR,
    few,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import legend
from holdfast.reproduce.table import Plot, Row, mean_of

TICKS = {
    UNCALIBRATED: "none",
    HISTOGRAM: "histogram",
    ISOTONIC: "isotonic",
    BAYES: "BBQ",
    TEMPERATURE: "temp.",
    VECTOR: "vector",
    MATRIX: "matrix",
    ODIR: "matrix, r.",
}


def plots(rows: Sequence[Row], parts: Mapping[str, Sequence[Part]]) -> tuple[Plot, ...]:
    """Bars of every network, and two diagrams of the residual one."""
    return (*(_bars(rows, name) for name in SHORT), *(_diagram(parts[RESNET][0], name) for name in DIAGRAMS))


def _bars(rows: Sequence[Row], name: str) -> Plot:
    shown = {"fitted on all": name, "fitted on few": few(name)}
    series = [
        Bar(label, style, tuple(100 * mean_of(rows, one, column) for column in TICKS))
        for style, (label, one) in enumerate(shown.items())
    ]
    title = f"Expected calibration error, points: {name}"
    return Plot(title, bars(series, list(TICKS.values()), title=title), "Means over the seeds.", legend(series))


def _diagram(part: Part, name: str) -> Plot:
    """Accuracy over confidence of the first seed."""
    title = f"Accuracy over confidence: {RESNET}, {name}"
    svg = reliability([Bin(**one) for one in part.found["diagrams"][name]], title=title)
    return Plot(title, svg, f"Seed {part.seed}, test pictures. Above the bars: surer than right; below: the counts.")

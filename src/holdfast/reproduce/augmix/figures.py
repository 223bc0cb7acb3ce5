"""The charts: error and calibration error over severity, and what each row costs."""

from collections.abc import Mapping, Sequence

from holdfast.drawing.charts import Bar, bars
from holdfast.reproduce.augmix.settings import PLAIN, VARIANTS, named
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import legend, over_severity
from holdfast.reproduce.shifted import ACCURACY, BACKWARD, ECE, FORWARD, SECONDS
from holdfast.reproduce.table import Plot, Row, mean_of

SHORT = ("plain", "augmented", "AugMix", "both", "adversarial", "ensemble")


def plots(rows: Sequence[Row], parts: Mapping[str, Sequence[Part]]) -> tuple[Plot, ...]:
    """Three charts a set."""
    return tuple(
        plot
        for data, some in parts.items()
        for plot in (
            over_severity(some, ACCURACY, f"Accuracy over severity: {data}", data, VARIANTS),
            over_severity(some, ECE, f"Expected calibration error over severity: {data}", data, VARIANTS),
            _costs(rows, data),
        )
    )


def _costs(rows: Sequence[Row], data: str) -> Plot:
    """Multiples of plain training."""
    own = {column: mean_of(rows, named(data, PLAIN), column) for column in (FORWARD, BACKWARD, SECONDS)}
    drawn = [
        Bar(column, style, tuple(mean_of(rows, named(data, name), column) / own[column] for name in VARIANTS))
        for style, column in enumerate(own)
    ]
    title = f"Cost of training as multiples of plain training's: {data}"
    return Plot(title, bars(drawn, SHORT, title=title), "Means over the seeds.", legend(drawn), data)

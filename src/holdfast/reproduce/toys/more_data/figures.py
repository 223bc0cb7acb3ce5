"""The charts: errors against samples, and samples needed against the dimension, with the closed forms."""

from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.drawing.charts import Line, lines
from holdfast.reproduce.part import Part, mean_over
from holdfast.reproduce.table import Plot
from holdfast.reproduce.toys.more_data.forms import MoreData, below, expected_margin, expected_need
from holdfast.reproduce.toys.more_data.needs import CHANCE, LEVELS, PERCENT
from holdfast.reproduce.toys.more_data.rows import GROUP

THEORY = "Dashed: the closed form for large d, norms and products at their means."


def plots(
    settings: MoreData, errors: Mapping[int, Sequence[Part]], needs: Mapping[int, Sequence[Part]]
) -> tuple[Plot, Plot]:
    """Both."""
    return _errors(settings, errors), _needs(settings, needs)


def _errors(settings: MoreData, errors: Mapping[int, Sequence[Part]]) -> Plot:
    d, span = settings.counted, np.geomspace(settings.samples[0], settings.samples[-1], 60).tolist()

    def form(eps: float) -> tuple[tuple[float, float], ...]:
        return tuple((n, below(expected_margin(d, n, settings.c, eps))) for n in span)

    series = [
        Line("standard error", 1, tuple((n, mean_over(parts, "standard")) for n, parts in errors.items())),
        Line("robust error", 0, tuple((n, mean_over(parts, "robust")) for n, parts in errors.items())),
        Line("large d", 1, form(0.0), dashed=True),
        Line("large d", 0, form(settings.eps), dashed=True),
    ]
    title = f"Error against training samples, d = {d}"
    svg = lines(series, title=title, x_label="training samples n", log_x=True, percent=True)
    return Plot(title, svg, THEORY, (("standard", 1), ("robust", 0)), GROUP)


def _needs(settings: MoreData, needs: Mapping[int, Sequence[Part]]) -> Plot:
    series = [
        Line(name, style, tuple((d, mean_over(parts, key)) for d, parts in needs.items()))
        for style, (name, key) in enumerate(((CHANCE, "chance"), (PERCENT, "percent")))
    ]
    series += [
        Line(
            f"{name}, form",
            style,
            tuple((d, expected_need(d, level, settings.c, settings.eps)) for d in needs),
            dashed=True,
        )
        for style, (name, level) in enumerate(LEVELS.items())
    ]
    title = "Samples needed against dimension"
    svg = lines(series, title=title, x_label="dimension d", log_x=True, log_y=True)
    return Plot(title, svg, THEORY, ((CHANCE, 0), (PERCENT, 1)), GROUP)

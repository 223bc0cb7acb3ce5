"""Danskin's theorem: the gradient at the inner maximiser is the gradient of the maximum, and nowhere else is it."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from holdfast.drawing.charts import Line, lines
from holdfast.options import to_plain
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, mean_over, slug
from holdfast.reproduce.plots import legend
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, judged, mean_of, row
from holdfast.reproduce.toys.danskin.measuring import at_the_least_point, compared
from holdfast.reproduce.toys.danskin.problems import CASES, Danskin, Problem

GROUP = "S6 Danskin's theorem"
ERROR, SLOPE = "error of the gradient", "slope of the maximum along the step"
LEAST = "line in Linf, at the point of least loss"
COLUMNS = (
    Column(ERROR, "relative", "distance of the gradient from that of the maximum, over the latter's length"),
    Column(
        SLOPE,
        "share of the steepest",
        "change of the maximum, found by attack, along a short step against the gradient: -1 is steepest descent, "
        "above 0 the step makes things worse",
    ),
)


def measure(bench: Bench, settings: Danskin) -> Table:
    """The four problems, and the one where it fails."""
    parts = {name: _parts(bench, settings, name, made) for name, made in CASES.items()}
    parts[LEAST] = bench.each_seed(
        "danskin/least", to_plain(settings), lambda seed, _: at_the_least_point(settings, seed)
    )
    rows = [
        row(name, some, {ERROR: "error", SLOPE: "slope"}, published=_on_paper(name, some), group=GROUP)
        for name, some in parts.items()
    ]
    return Table(COLUMNS, tuple(rows), _orderings(rows), (_plot(parts, settings),))


def _parts(bench: Bench, settings: Danskin, name: str, made: Callable[[Danskin, int], Problem]) -> list[Part]:
    asked = to_plain(settings)
    return bench.each_seed(
        f"danskin/{slug(name)}", asked, lambda seed, _: compared(made(settings, seed), settings.steps, seed)
    )


def _on_paper(name: str, parts: Sequence[Part]) -> dict[str, float]:
    if name == LEAST:
        return {ERROR: mean_over(parts, "error_form"), SLOPE: 1.0}
    return {ERROR: 0.0, SLOPE: -1.0}


def _orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    exact = {f"{name}, error": mean_of(rows, name, ERROR) for name in CASES}
    downhill = {f"{name}, slope": mean_of(rows, name, SLOPE) for name in CASES}
    least = mean_of(rows, LEAST, SLOPE)
    return (
        judged(
            "The gradient at the inner maximiser is the gradient of the maximum (relative error below 1e-3).",
            all(error < 1e-3 for error in exact.values()),
            exact,
        ),
        judged(
            "A step against it is the steepest descent of the maximum (slope -1 within 1e-3).",
            all(abs(value + 1) < 1e-3 for value in downhill.values()),
            downhill,
        ),
        judged(
            "It holds only where the maximum is reached: a step against the gradient elsewhere can raise the maximum.",
            least > 0,
            {f"{LEAST}, slope": least},
        ),
    )


def _plot(parts: Mapping[str, Sequence[Part]], settings: Danskin) -> Plot:
    series = []
    for style, name in enumerate(CASES):
        course = [fmean(errors) for errors in zip(*(part.found["course"] for part in parts[name]), strict=True)]
        series.append(Line(name, style, tuple((n, max(error, 1e-16)) for n, error in zip(settings.steps, course))))
    title = "Error of the gradient against steps of the inner attack"
    svg = lines(series, title=title, x_label="steps of the inner attack", log_x=True, log_y=True)
    caption = "The nearer the attack comes to the maximum, the nearer the gradient."
    return Plot(title, svg, caption, legend(series), GROUP)

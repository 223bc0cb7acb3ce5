"""The charts: accuracies and losses as bars, and courses of training."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from holdfast.drawing.charts import Line, bars, lines
from holdfast.reproduce.mixup_cutout.settings import (
    ACCURACY,
    ALL,
    AUGMENT,
    CUTOUT,
    DECAY,
    DROPOUT,
    MIXUP,
    NLL,
    NONE,
    NORM,
    SMOOTH,
    STOP,
    TRAINING,
    USUAL,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import bar_of, by_epoch, legend
from holdfast.reproduce.table import Plot, Row

SHORT = {
    NONE: "none",
    DECAY: "decay",
    STOP: "stop",
    DROPOUT: "dropout",
    NORM: "norm",
    AUGMENT: "augment",
    CUTOUT: "cutout",
    MIXUP: "mixup",
    USUAL: "usual",
    SMOOTH: "smooth",
    ALL: "all",
}
KINDS = {  # what fits side by side
    "network and loss": (NONE, DECAY, STOP, DROPOUT, NORM, SMOOTH),
    "pictures": (NONE, AUGMENT, CUTOUT, MIXUP, USUAL, ALL),
}
MEANS = "Means over the seeds."


def plots(rows: Sequence[Row], parts: Mapping[str, Sequence[Part]]) -> tuple[Plot, ...]:
    """Bars of all rows, courses of those that are best told apart."""
    return (
        *(_shares(rows, names, f"Training and test accuracy: {of}") for of, names in KINDS.items()),
        *(_losses(rows, names, f"Test loss, nats: {of}") for of, names in KINDS.items()),
        _courses(parts, (NONE, ALL), "None and all together"),
        _courses(parts, (MIXUP, USUAL), "The two forms of mixup"),
    )


def _shares(rows: Sequence[Row], names: Sequence[str], title: str) -> Plot:
    series = [bar_of(rows, names, column, style) for style, column in enumerate((TRAINING, ACCURACY))]
    svg = bars(series, [SHORT[name] for name in names], title=title, percent=True)
    return Plot(title, svg, MEANS, legend(series))


def _losses(rows: Sequence[Row], names: Sequence[str], title: str) -> Plot:
    series = [bar_of(rows, names, NLL, 1)]
    return Plot(title, bars(series, [SHORT[name] for name in names], title=title), MEANS, legend(series))


def _courses(parts: Mapping[str, Sequence[Part]], names: Sequence[str], title: str) -> Plot:
    """Accuracy after each epoch, in the mean over the seeds that went so far."""
    series = []
    for name in names:
        for what, dashed in (("training", True), ("validation", False)):
            courses = [part.found["curves"][what] for part in parts[name]]
            style = 2 * names.index(name) + dashed
            series.append(Line(f"{SHORT[name]}, {what}", style, averaged(courses), dashed))
    svg = lines(series, title=title, x_label="epoch", percent=True)
    caption = (
        "Mean over the seeds. Dashed: right answers on what was trained on, changed and mixed as it was (of mixed "
        "pictures the larger share's label counts), each before its step. The others: validation pictures."
    )
    return Plot(title, svg, caption, legend(series))


def averaged(courses: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """(epoch, mean) for as many epochs as all courses have."""
    return by_epoch(fmean(values) for values in zip(*courses))  # ends with the shortest, where training stopped early

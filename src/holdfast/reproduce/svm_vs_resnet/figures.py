"""The report's charts: bars of errors, and courses of training."""

from collections.abc import Mapping, Sequence

from holdfast.drawing.charts import Line, bars, lines
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import bar_of, by_epoch, legend
from holdfast.reproduce.svm_vs_resnet.classifiers import Classifier
from holdfast.reproduce.svm_vs_resnet.settings import (
    AS_WRITTEN,
    CLEAN,
    COURSE,
    HARD_SVM,
    RESNET,
    ROBUST,
    SOFTMAX,
    SVM,
    Settings,
    pgd,
)
from holdfast.reproduce.table import Plot, Row
from holdfast.train import Hinge


def plots(
    rows: Sequence[Row], parts: Mapping[str, Sequence[Part]], chosen: Sequence[Classifier], settings: Settings
) -> tuple[Plot, ...]:
    """Errors as bars, the loss of the machines, and the training of the networks."""
    machines = [one for one in chosen if one.recipe.loss == Hinge()]
    deep = [one for one in chosen if not one.linear]
    return (
        _bars(rows, (SVM, RESNET), "Errors before and after the attack", settings),
        _bars(rows, (HARD_SVM, ROBUST), "Errors after adversarial training", settings),
        _bars(rows, (AS_WRITTEN, COURSE, SOFTMAX), "Errors of the other linear classifiers", settings),
        _courses(parts, machines, "Loss of the SVM", "loss"),
        _courses(parts, deep, "Loss of the residual networks", "loss"),
        _courses(parts, deep, "Validation accuracy of the residual networks", "validation"),
    )


SHORT = {HARD_SVM: "SVM", ROBUST: "ResNet", AS_WRITTEN: "as written", COURSE: "lambda 2.5e4", SOFTMAX: "softmax"}


def _bars(rows: Sequence[Row], names: Sequence[str], title: str, settings: Settings) -> Plot:
    columns = [CLEAN, *map(pgd, settings.radii)]
    series = [bar_of(rows, names, column, style) for style, column in enumerate(columns)]
    svg = bars(series, [SHORT.get(name, name) for name in names], title=title, percent=True)
    return Plot(title, svg, "Means over the seeds.", legend(series))


def _courses(parts: Mapping[str, Sequence[Part]], some: Sequence[Classifier], title: str, what: str) -> Plot:
    """A number of every epoch, of the first seed."""
    series = [
        Line(one.name, style, by_epoch(parts[one.name][0].found["curves"][what])) for style, one in enumerate(some)
    ]
    svg = lines(series, title=title, x_label="epoch", percent=what != "loss")
    seed = parts[some[0].name][0].seed
    about = "of the pictures trained on, moved ones in adversarial training" if what == "loss" else "on clean pictures"
    return Plot(title, svg, f"Seed {seed}; {about}.", legend(series))

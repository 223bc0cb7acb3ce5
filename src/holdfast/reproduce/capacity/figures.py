"""The charts: accuracies against the scale, and losses of the trainings on PGD."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from holdfast.drawing.charts import Line, lines
from holdfast.reproduce.capacity.settings import (
    ACCURACIES,
    GROWING,
    ON_PGD,
    TRAININGS,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import by_epoch, legend
from holdfast.reproduce.table import Plot

Networks = Mapping[tuple[str, int], Sequence[Part]]
"""By training and scale: a part for every seed."""


def plots(parts: Networks) -> tuple[Plot, ...]:
    """For each training the accuracies against the scale, and the losses of the trainings on PGD."""
    by_training = {
        training: {scale: some for (name, scale), some in parts.items() if name == training} for training in TRAININGS
    }
    return (
        *(_accuracies(training, some) for training, some in by_training.items()),
        *(_losses(training, by_training[training]) for training in (ON_PGD, GROWING)),
    )


def _accuracies(training: str, some: Mapping[int, Sequence[Part]]) -> Plot:
    series = [
        Line(name, style, tuple((scale, *_spread(parts, key)) for scale, parts in some.items()))
        for style, (name, key) in enumerate(ACCURACIES.items())
    ]
    title = f"Trained {training}"
    svg = lines(series, title=title, x_label="capacity scale", log_x=max(some) > 4, percent=True, y_from=(1.0,))
    several = any(len(parts) > 1 for parts in some.values())
    caption = "Bands from the lowest to the highest seed." if several else ""
    return Plot(title, svg, caption, tuple((f"{name} accuracy", style) for name, style in legend(series)))


def _losses(training: str, some: Mapping[int, Sequence[Part]]) -> Plot:
    """With the first seed."""
    title = f"Loss of every epoch, trained {training}"
    series = [
        Line(f"x{scale}", style, by_epoch(parts[0].found["curves"]["loss"]))
        for style, (scale, parts) in enumerate(some.items())
    ]
    svg = lines(series, title=title, x_label="epoch", y_from=(math.log(10),))
    caption = "On what was trained on. ln 10 = 2.30 is the loss of saying nothing about ten classes."
    return Plot(title, svg, caption, legend(series))


def _spread(parts: Sequence[Part], key: str) -> tuple[float, float, float]:
    """Mean, smallest and largest over the seeds."""
    values = [float(part.found[key]) for part in parts]
    return fmean(values), min(values), max(values)

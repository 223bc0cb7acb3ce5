"""Histograms of the gradient norm: clean pictures beside those of attackers who do not know the detector, and do."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.drawing.histograms import Values, histogram
from holdfast.reproduce.gradient_detector.measuring import NORMS, NORMS_ALL_STEPS
from holdfast.reproduce.gradient_detector.settings import (
    BOUNDARY,
    CARLINI,
    CLEAN,
    DIFFERENCES,
    EVASIVE,
    LEAST_PGD,
    Ground,
    named,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Plot

WHOLE = "PGD, all steps"


def plots(on: Ground, parts: Mapping[str, Sequence[Part]]) -> tuple[Plot, ...]:
    """Of the first seed; `parts` by the row within a set."""
    shown = {name: some[0].found[NORMS] for name, some in parts.items()}
    shown[WHOLE] = parts[LEAST_PGD][0].found[NORMS_ALL_STEPS]
    return (
        _histogram(named(on, "attackers unaware"), shown, (CLEAN, LEAST_PGD, BOUNDARY, CARLINI), parts),
        _histogram(named(on, "full budget and aware"), shown, (CLEAN, WHOLE, EVASIVE, DIFFERENCES), parts),
    )


def _histogram(
    title: str, shown: Mapping[str, Sequence[float]], names: Sequence[str], parts: Mapping[str, Sequence[Part]]
) -> Plot:
    """Sets without a picture are left out."""
    sets = [
        Values(name, style, np.asarray(shown[name], dtype=np.float64) / math.log(10))
        for style, name in enumerate(names)
        if shown[name]
    ]
    svg = histogram(sets, title=title, x_label="log10 of the gradient's L2 norm")
    first = parts[CLEAN][0]
    limit = first.found["threshold"] / math.log(10)
    caption = f"Seed {first.seed}; share of each set in a bin; flagged above {limit:.3g}."
    return Plot(title, svg, caption, tuple((one.label, one.style) for one in sets))

"""What the lecture says of shift, and Ovadia et al. of temperature scaling, judged by ours."""

from collections.abc import Sequence

from holdfast.reproduce.shift.settings import (
    CLEAN,
    COLUMNS,
    DROPOUT,
    ENSEMBLE,
    METHODS,
    SINGLE,
    TEMPERATURE,
    WORST,
    named,
)
from holdfast.reproduce.shifted import ACCURACY, ECE
from holdfast.reproduce.table import Ordering, Row, below, descending, judged, mean_of

DROPS = "Accuracy drops with increasing shift."
DEGRADES = "The quality of uncertainty degrades with shift: the calibration error grows with every severity."
AMONG_BEST = "Ensembles are consistently among the best, especially under shift: {} at severity 5."
HELPS = "Temperature scaling mends the calibration of clean pictures."
BETTER_CLEAN = "On clean pictures temperature scaling is calibrated better than the ensemble."
BEHIND = "Under shift it is behind the ensemble: at severity 5 its calibration error is larger."
LOSES = "It loses its advantage under shift: the share of the calibration error that it leaves is larger at severity 5."


def orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """Sentence by sentence."""
    severities = COLUMNS[:-1]
    accuracy = [(named(ACCURACY, SINGLE), column) for column in severities]
    errors = [(named(ECE, SINGLE), column) for column in reversed(severities)]
    right = [(named(ACCURACY, method), WORST) for method in (SINGLE, DROPOUT)]
    others = [(named(ECE, method), WORST) for method in METHODS if method != ENSEMBLE]
    return (
        descending(DROPS, rows, accuracy),
        descending(DEGRADES, rows, errors),
        below(AMONG_BEST.format("the highest accuracy"), rows, right, [(named(ACCURACY, ENSEMBLE), WORST)]),
        below(AMONG_BEST.format("the smallest calibration error"), rows, [(named(ECE, ENSEMBLE), WORST)], others),
        below(HELPS, rows, [(named(ECE, TEMPERATURE), CLEAN)], [(named(ECE, SINGLE), CLEAN)]),
        below(BETTER_CLEAN, rows, [(named(ECE, TEMPERATURE), CLEAN)], [(named(ECE, ENSEMBLE), CLEAN)]),
        below(BEHIND, rows, [(named(ECE, ENSEMBLE), WORST)], [(named(ECE, TEMPERATURE), WORST)]),
        _loses(rows),
    )


def _loses(rows: Sequence[Row]) -> Ordering:
    """Of the single network's error; where that is 0 nothing can be said."""
    left: dict[str, float | None] = {}
    for column in (CLEAN, WORST):
        whole = mean_of(rows, named(ECE, SINGLE), column)
        left[f"left, {column}"] = mean_of(rows, named(ECE, TEMPERATURE), column) / whole if whole else None
    clean, worst = left.values()
    return judged(LOSES, None if clean is None or worst is None else clean < worst, left)

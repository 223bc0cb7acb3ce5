"""What the source says of attackers who do not know the detector, and of the one who does."""

from collections.abc import Sequence

from holdfast.reproduce.gradient_detector.settings import (
    BOUNDARY,
    CARLINI,
    CLEAN,
    DIFFERENCES,
    EVASIVE,
    FLAGGED,
    LEAST_PGD,
    NORM,
    SIZE,
    Ground,
    named,
)
from holdfast.reproduce.table import Ordering, Row, below, cell_of, descending, mean_of

LARGER = "Clean pictures have small gradients, attacked ones large: the median of {} against that of clean ones."
MOST = "Of the pictures of {}, which does not know the detector, at least 90 % are flagged."
FEWER_THAN_HALF = "Who knows the detector is flagged less than half the time: {}."
PRICE = "It costs distance: the median of {} is larger than that of CW."


def orderings(rows: Sequence[Row], grounds: Sequence[Ground]) -> tuple[Ordering, ...]:
    """Sentence by sentence, for each set."""
    return tuple(ordering for on in grounds for ordering in _of(rows, on))


def _of(rows: Sequence[Row], on: Ground) -> tuple[Ordering, ...]:
    unaware = [named(on, name) for name in (LEAST_PGD, BOUNDARY, CARLINI)]
    aware = [named(on, name) for name in (EVASIVE, DIFFERENCES)]
    clean, carlini = named(on, CLEAN), named(on, CARLINI)
    return (
        *(below(LARGER.format(name), rows, [(clean, NORM)], [(name, NORM)]) for name in unaware),
        *(_share(MOST.format(name), rows, name, 0.9, at_least=True) for name in unaware),
        *(_share(FEWER_THAN_HALF.format(name), rows, name, 0.5, at_least=False) for name in aware),
        *(descending(PRICE.format(name), rows, [(name, SIZE), (carlini, SIZE)]) for name in aware),
    )


def _share(sentence: str, rows: Sequence[Row], name: str, limit: float, *, at_least: bool) -> Ordering:
    """Whether the share flagged is at least, or below, a limit; each seed alone too."""
    cell = cell_of(rows, name, FLAGGED)
    assert cell is not None  # every part has it
    held = {seed: value >= limit if at_least else value < limit for seed, value in cell.seeds.items()}
    mean = mean_of(rows, name, FLAGGED)
    return Ordering(sentence, mean >= limit if at_least else mean < limit, {f"{name}, {FLAGGED}": mean}, held)

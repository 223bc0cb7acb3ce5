"""What the lecture says of detectors, and what their training against those who know them is for."""

from collections.abc import Sequence

from holdfast.reproduce.auxiliary_detector.settings import (
    ALL_STEPS,
    AWARE,
    COST,
    DETECTED,
    KINDS,
    Ground,
    Kind,
    named,
)
from holdfast.reproduce.table import Ordering, Row, below, cell_of

CHEAPER = "A branch costs less than a network of its own: {}."
LEARNT = "Who does not know the detector is detected more than half the time: {}."
STILL = "Who attacks both at once is still successful, and detected less than half the time: {}."
HARDER = "Dynamic training detects more of those who know the detector than static training: {}, {}."


def orderings(rows: Sequence[Row], grounds: Sequence[Ground]) -> tuple[Ordering, ...]:
    """Sentence by sentence; attacks by PGD, with all its steps where it does not know."""
    return tuple(
        ordering
        for on in grounds
        for ordering in (
            _cheaper(rows, on),
            *(_half(LEARNT, rows, named(on, kind, ALL_STEPS), DETECTED, more=True) for kind in KINDS),
            *(_half(STILL, rows, named(on, kind, ALL_STEPS), AWARE, more=False) for kind in KINDS),
            *(_harder(rows, on, kind) for kind in KINDS if kind.training == "static"),
        )
    )


def _cheaper(rows: Sequence[Row], on: Ground) -> Ordering:
    separate, branched = named(on, Kind("separate", "static")), named(on, Kind("branched", "static"))
    return below(CHEAPER.format(on.name), rows, [(branched, COST)], [(separate, COST)])


def _harder(rows: Sequence[Row], on: Ground, kind: Kind) -> Ordering:
    static, dynamic = named(on, kind, ALL_STEPS), named(on, Kind(kind.form, "dynamic"), ALL_STEPS)
    return below(HARDER.format(on.name, kind.form), rows, [(static, AWARE)], [(dynamic, AWARE)])


def _half(sentence: str, rows: Sequence[Row], name: str, column: str, *, more: bool) -> Ordering:
    """Whether a share is more than half, or less; each seed alone too."""
    cell, text = cell_of(rows, name, column), sentence.format(name.rpartition(":")[0])
    if cell is None:
        return Ordering(text, None, {f"{name}, {column}": None})
    held = {seed: (value > 0.5) if more else (value < 0.5) for seed, value in cell.seeds.items()}
    return Ordering(text, (cell.mean > 0.5) if more else (cell.mean < 0.5), {f"{name}, {column}": cell.mean}, held)

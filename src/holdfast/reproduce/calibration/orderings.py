"""What the source says of the methods, judged by ours."""

from collections.abc import Sequence

from holdfast.reproduce.calibration.settings import (
    BAYES,
    BINNING,
    FASHION,
    HISTOGRAM,
    LENET,
    MATRIX,
    RESNET,
    SHORT,
    SOURCES,
    TEMPERATURE,
    UNCALIBRATED,
    VECTOR,
    few,
)
from holdfast.reproduce.table import Ordering, Row, below, cell_of, descending

ALIKE = 0.005  # the source's temperature and vector scaling are at most 0.3 points apart for sets of ten classes
ROWS = (LENET, RESNET, FASHION)
BETTER = "Every method makes the error smaller ({})."
BEST = "Temperature scaling beats all binning methods ({}; so in the source's LeNet-5 row, not in its ResNet-110 row)."
FRONT = "Histogram binning and BBQ are in front of temperature scaling ({}; so in the source's ResNet-110 row)."
ALIKE_SAID = "Vector scaling comes to about what temperature scaling does, within half a point ({})."
OVERFITS = "Matrix scaling overfits where it has many numbers for few pictures: worse than temperature ({})."


def orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """The source's sentences and what its rows show, network by network."""
    return (
        *(_before(BETTER.format(SHORT[one]), rows, one, SOURCES, (UNCALIBRATED,)) for one in ROWS),
        *(_before(BEST.format(SHORT[one]), rows, one, (TEMPERATURE,), BINNING) for one in ROWS),
        _before(FRONT.format(SHORT[RESNET]), rows, RESNET, (HISTOGRAM, BAYES), (TEMPERATURE,)),
        *(_alike(rows, one) for one in ROWS),
        *(_overfits(rows, one) for one in ROWS),
    )


def _before(sentence: str, rows: Sequence[Row], name: str, front: Sequence[str], behind: Sequence[str]) -> Ordering:
    """Whether each of the columns `front` is smaller than each of `behind`."""
    return below(sentence, rows, [(name, column) for column in front], [(name, column) for column in behind])


def _alike(rows: Sequence[Row], name: str) -> Ordering:
    """Whether the two are within half a point."""
    cells = [cell_of(rows, name, column) for column in (TEMPERATURE, VECTOR)]
    one, other = (cell for cell in cells if cell is not None)
    numbers = {f"{name}, {TEMPERATURE}": one.mean, f"{name}, {VECTOR}": other.mean}
    seeds = {seed: abs(one.seeds[seed] - other.seeds[seed]) <= ALIKE for seed in one.seeds}
    return Ordering(ALIKE_SAID.format(SHORT[name]), abs(one.mean - other.mean) <= ALIKE, numbers, seeds)


def _overfits(rows: Sequence[Row], name: str) -> Ordering:
    return descending(OVERFITS.format(SHORT[name]), rows, [(few(name), MATRIX), (few(name), TEMPERATURE)])

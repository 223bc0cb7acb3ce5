"""What the source says of capacity, in its section 4."""

from collections.abc import Sequence

from holdfast.reproduce.capacity.settings import (
    BY_FGSM,
    BY_PGD,
    COMMONEST,
    GROWING,
    LOSS,
    NATURAL,
    ON_FGSM,
    ON_PGD,
    PLAIN,
    Capacity,
    cell,
)
from holdfast.reproduce.table import Ordering, Row, descending, judged, mean_of

FIXED = 0.99  # share of one answer from which on a network says always the same


def orderings(settings: Capacity, rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """Natural training first, then what was trained on FGSM, and what on PGD."""
    least, most = settings.scales[0], settings.scales[-1]

    def ends(training: str, column: str) -> list[tuple[str, str]]:
        return [cell(training, scale, column) for scale in (most, least)]

    return (
        descending("Capacity alone raises the natural accuracy of natural training.", rows, ends(PLAIN, NATURAL)),
        descending("Capacity alone makes natural training more robust to FGSM.", rows, ends(PLAIN, BY_FGSM)),
        descending(
            "FGSM training of the largest network fits FGSM: against PGD it holds less.",
            rows,
            [cell(ON_FGSM, most, BY_FGSM), cell(ON_FGSM, most, BY_PGD)],
        ),
        descending(
            "FGSM training costs natural accuracy.",
            rows,
            [cell(PLAIN, most, NATURAL), cell(ON_FGSM, most, NATURAL)],
        ),
        _better_than_fgsm(rows, most),
        descending(
            "So it does where eps grows.",
            rows,
            [cell(GROWING, most, BY_PGD), cell(ON_FGSM, most, BY_PGD)],
        ),
        _constant(f"Trained on PGD, the smallest network says one class always (over {FIXED:.0%}).", rows, least),
        descending(
            "The largest network does learn from PGD: it holds better than the smallest.",
            rows,
            ends(ON_PGD, BY_PGD),
        ),
        descending("The value of the saddle point problem falls with capacity.", rows, ends(ON_PGD, LOSS)[::-1]),
        descending(
            "With eps growing from 0 too, PGD accuracy rises with capacity, step by step.",
            rows,
            [cell(GROWING, scale, BY_PGD) for scale in reversed(settings.scales)],
        ),
        descending(
            "So does the value of the saddle point problem fall.",
            rows,
            [cell(GROWING, scale, LOSS) for scale in settings.scales],
        ),
    )


def _constant(sentence: str, rows: Sequence[Row], scale: int) -> Ordering:
    """Whether PGD training has ended in a fixed class, although natural training of the same network has not."""
    numbers = _numbers(rows, [cell(training, scale, COMMONEST) for training in (ON_PGD, PLAIN)])
    stuck, free = numbers.values()
    return judged(sentence, stuck > FIXED > free, numbers)


def _better_than_fgsm(rows: Sequence[Row], scale: int) -> Ordering:
    """A fixed class is right on its own pictures whatever the attack: that is not better than anything."""
    cells = [cell(ON_PGD, scale, BY_PGD), cell(ON_FGSM, scale, BY_PGD), cell(ON_PGD, scale, COMMONEST)]
    numbers = _numbers(rows, cells)
    trained, other, commonest = numbers.values()
    sentence = (
        "The largest network trained on PGD holds against it better than the one trained on FGSM, and is no constant."
    )
    return judged(sentence, trained > other and commonest < FIXED, numbers)


def _numbers(rows: Sequence[Row], cells: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Means by "row, column"."""
    return {f"{name}, {column}": mean_of(rows, name, column) for name, column in cells}

"""records.csv: one row a picture and radius, for spreadsheets and other programs."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from holdfast.evaluate.provenance import Run, attack_names

ONCE = ("index", "label", "prediction", "confidence")
SOUGHT = ("smallest", "smallest_relative", "smallest_prediction")  # where the smallest change was sought
PER_EPS = (
    "prediction_adv",
    "confidence_adv",
    "success",
    "broken",
    "success_8bit",
    "size",
    "step",
    "queries",
    "forward",
    "backward",
)
VIEWED = ("views", "views_before")  # where the attack averages over views of the pictures
NAMED = "attack"  # which of the attacks broke the picture


# Numbers as text take a hundred times the room of the numbers, so only so many pictures are text at once.
PICTURES_AT_ONCE = 1000


def records_csv(run: Run, records: Mapping[str, Tensor]) -> Iterator[bytes]:
    """The file's content, piece by piece: picture by picture, radii ascending; truths as 1 and 0, numbers in full.

    `index` is the place in the full split. A picture wrong from the start has success 1, step 0 and size 0. `attack`
    names the one that broke the picture at this radius, if any did.
    """
    whole = [*ONCE, *(name for name in SOUGHT if name in records)]
    each = [*PER_EPS, *(name for name in VIEWED if name in records)]
    yield _lines([[*whole, "eps", *each, NAMED]])
    names = [*attack_names(run), ""]  # the last one stands for none, as -1
    eps = run["options"]["threat"]["eps"]
    for start in range(0, len(records["index"]), PICTURES_AT_ONCE):
        some = slice(start, start + PICTURES_AT_ONCE)
        once = list(zip(*(_numbers(records[name][some]) for name in whole)))
        per_eps = [list(zip(*(_numbers(records[name][i, some]) for name in each))) for i in range(len(eps))]
        by = [[names[number] for number in records[NAMED][i, some].tolist()] for i in range(len(eps))]
        yield _lines(
            [*head, repr(radius), *rows[picture], named[picture]]
            for picture, head in enumerate(once)
            for radius, rows, named in zip(eps, per_eps, by)
        )


def _lines(rows: Iterable[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _numbers(column: Tensor) -> list[str]:
    if column.is_floating_point():
        digits = 17 if column.element_size() == 8 else 9  # as many as tell any two values apart
        return [f"{value:.{digits}g}" for value in column.tolist()]
    return [str(int(value)) for value in column.tolist()]

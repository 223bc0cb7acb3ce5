"""records.csv: one row a picture and radius, for spreadsheets and other programs."""

import csv
import io
from collections.abc import Mapping

from torch import Tensor

from holdfast.evaluate.provenance import Run

ONCE = ("index", "label", "prediction", "confidence")
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


def records_csv(run: Run, records: Mapping[str, Tensor]) -> bytes:
    """The file's content: picture by picture, radii ascending; truths as 1 and 0, numbers in full.

    `index` is the place in the full split. A picture wrong from the start has success 1, step 0 and size 0.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*ONCE, "eps", *PER_EPS])
    once = list(zip(*(_numbers(records[name]) for name in ONCE)))
    eps = run["options"]["threat"]["eps"]
    per_eps = [list(zip(*(_numbers(records[name][i]) for name in PER_EPS))) for i in range(len(eps))]
    for picture, head in enumerate(once):
        for radius, rows in zip(eps, per_eps):
            writer.writerow([*head, repr(radius), *rows[picture]])
    return out.getvalue().encode()


def _numbers(column: Tensor) -> list[str]:
    if column.is_floating_point():
        digits = 17 if column.element_size() == 8 else 9  # as many as tell any two values apart
        return [f"{value:.{digits}g}" for value in column.tolist()]
    return [str(int(value)) for value in column.tolist()]

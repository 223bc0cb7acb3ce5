"""Checked scores of both sets, and how many of each lie at or above each value."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import DataError

Values = NDArray[np.float64]
LEAST = 2  # scores a set, below which nothing can be said of their spread


class Counts(NamedTuple):
    """Distinct scores in descending order, and how many of each set are no smaller."""

    value: Values  # (V,)
    inside: Values  # (V,) or (B, V)
    outside: Values  # (V,) or (B, V)


def check_scores(inside: Values, outside: Values) -> tuple[Values, Values]:
    """Both as float64 vectors. Raises: `DataError` for fewer than two scores in one, or any that is not finite."""
    checked = []
    for name, given in (("familiar", inside), ("unfamiliar", outside)):
        values = np.asarray(given, dtype=np.float64)
        if values.ndim != 1 or len(values) < LEAST:
            raise DataError(
                f"scores of {name} pictures of shape {values.shape}; allowed: ({LEAST} or more,). Give more pictures."
            )
        if wrong := int((~np.isfinite(values)).sum()):
            raise DataError(
                f"{wrong} of {len(values)} scores of {name} pictures are NaN or infinite; allowed: finite numbers. "
                "See which score and which pictures they are of."
            )
        checked.append(values)
    return checked[0], checked[1]


def counts(inside: Values, outside: Values) -> Counts:
    """Cumulative counts over the distinct values; scores that are equal cannot be told apart and go together."""
    joined = np.concatenate([inside, outside])
    order = np.argsort(-joined, kind="stable")
    sorted_ = joined[order]
    last = np.append(np.flatnonzero(np.diff(sorted_)), len(sorted_) - 1)
    from_outside = (order >= len(inside)).astype(np.float64)
    outer = np.cumsum(from_outside)[last]
    return Counts(sorted_[last], last + 1 - outer, outer)

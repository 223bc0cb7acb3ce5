"""What logits and labels must be before anything is computed from them."""

import torch
from torch import Tensor

from holdfast.errors import DataError, OptionError

ROUNDING = 1e-3  # by which rows of probabilities may miss a sum of 1


def check(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, K) as float64 on the CPU and labels (N,) int64 beside them.

    Raises: `DataError` for other shapes or types, no pictures, NaN or infinity, and labels outside [0, K);
    `OptionError` where every row is nonnegative and sums to 1, as probabilities do and logits do not.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or not len(logits) or not logits.is_floating_point():
        raise DataError(
            f"logits of shape {tuple(logits.shape)} and {logits.dtype}; allowed: (N, K), floating, N >= 1 pictures "
            "and K >= 2 classes."
        )
    if labels.shape != logits.shape[:1] or labels.dtype != torch.int64:
        raise DataError(
            f"labels of shape {tuple(labels.shape)} and {labels.dtype} beside {len(logits)} rows of logits; allowed: "
            f"({len(logits)},) int64. Give one whole number a picture."
        )
    found, y = logits.detach().double().cpu(), labels.detach().cpu()
    broken = ~found.isfinite().all(1)
    if bool(broken.any()):
        raise DataError(
            f"logits of {int(broken.sum())} of {len(found)} pictures are NaN or infinite, the first in row "
            f"{int(broken.nonzero()[0])}; allowed: finite numbers. Mend the model, or leave these pictures out."
        )
    if int(y.min()) < 0 or int(y.max()) >= found.shape[1]:
        raise DataError(
            f"labels from {int(y.min())} to {int(y.max())}; allowed: 0 to {found.shape[1] - 1} for "
            f"{found.shape[1]} logits a picture."
        )
    if bool((found >= 0).all()) and bool(((found.sum(1) - 1).abs() < ROUNDING).all()):
        raise OptionError(
            f"all {len(found)} rows are nonnegative and sum to 1: these are probabilities; allowed: logits. Leave out "
            "the last softmax, or pass torch.log(probabilities), which are logits of the same probabilities."
        )
    return found, y


def check_classes(labels: Tensor, classes: int, method: str) -> None:
    """Raises: `DataError` when a class has no picture to be fitted on."""
    counts = labels.bincount(minlength=classes)
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        named = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise DataError(
            f"{method}: {len(empty)} of {classes} classes have no picture to be fitted on: {named}; allowed: at least "
            "one each. Take more pictures, or temperature, which needs none of each class."
        )


def check_count(name: str, option: str, value: int, least: int = 1) -> None:
    """Raises: `OptionError` unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name}: {option}={value!r}; allowed: whole numbers >= {least}.")


def check_share(name: str, option: str, value: float) -> None:
    """Raises: `OptionError` unless 0 < value < 1."""
    if not 0 < value < 1:
        raise OptionError(f"{name}: {option}={value!r}; allowed: 0 < {option} < 1. Pass 0.1 for 10 %.")

"""Splits that never overlap: validation pictures are carved out of a publisher's training part.

Places are chosen by hashing, not by a library's random generator, so they are the same for ever:
the pictures are put in order of class and, within it, of a hash of seed and place; every tenth is for validation.
So each class gives a tenth (to within one picture) and the total is exactly a tenth, rounded up.
Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", fig. 14 (the mixing).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import OptionError, unknown

SPLITS = ("train", "validation", "test")
VALIDATION_EVERY = 10  # one of so many training pictures is for validation


def part_of(split: str) -> str:
    """The publisher's part ("train" or "test") that a split comes from.

    Raises: `OptionError` for an unknown split.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    return "test" if split == "test" else "train"


def places_of(split: str, labels: Tensor, seed: int) -> Tensor:
    """The rows (n,) int64, ascending, of the publisher's part that make up a split.

    Args: `split` one of `SPLITS`; `labels` (N,) int64 of the whole part; `seed` chooses which training
        pictures are for validation. Train and validation are disjoint only when asked with the same seed.
    """
    if part_of(split) == "test":
        return torch.arange(len(labels))
    validation = every_nth(labels, VALIDATION_EVERY, seed)
    if split == "validation":
        return validation
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[validation] = False
    return kept.nonzero().squeeze(1)


def every_nth(labels: Tensor, nth: int, seed: int) -> Tensor:
    """One picture of `nth`, evenly over the classes and hashed within: rows (ceil(N / nth),) int64, ascending."""
    order = np.lexsort((_keys(len(labels), seed), labels.numpy()))
    return torch.from_numpy(np.sort(order[::nth]))


def check_choice(split: str, limit: int | None, seed: int) -> None:
    """Raises `OptionError` for an unknown split, a limit below 1 or a negative seed."""
    part_of(split)
    if limit is not None and limit < 1:
        raise OptionError(f"limit={limit!r}; allowed: 1 or more pictures. Leave it out for the whole split.")
    if not 0 <= seed < 2**63:
        raise OptionError(f"seed={seed!r}; allowed: 0 to 2**63 - 1. Choose another seed.")


def _keys(count: int, seed: int) -> NDArray[np.uint64]:
    """A different 64-bit key for every place: the mixing is a bijection, so there are no ties."""
    start = _mix(np.array([seed], dtype=np.uint64))
    return _mix(start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))

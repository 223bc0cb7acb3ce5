"""Rows cut into pieces of one size: an epoch into batches, a batch into parts."""

import torch
from torch import Tensor

from holdfast.data import Pictures


def pieces(rows: Tensor, size: int) -> list[Tensor]:
    """(N, ...) in pieces of `size` rows; a last single row joins the piece before it.

    Batch norm cannot be trained on one picture.

    >>> [len(piece) for piece in pieces(torch.arange(9), 4)]
    [4, 5]
    """
    parts = list(torch.split(rows, size))
    if len(parts) > 1 and len(parts[-1]) == 1 and size > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def batches(count: int, batch: int, seed: int) -> list[Tensor]:
    """Shuffled rows 0 to `count` - 1 in batches; a last single picture joins the batch before it."""
    return pieces(torch.randperm(count, generator=torch.Generator().manual_seed(seed)), batch)


def rows_of(pictures: Pictures, batch: int) -> tuple[Tensor, ...]:
    """The rows of all pictures in order, in batches, on the pictures' device."""
    return torch.split(torch.arange(len(pictures), device=pictures.labels.device), batch)

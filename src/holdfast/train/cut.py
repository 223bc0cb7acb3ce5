"""A batch cut into pieces of one size."""

import torch
from torch import Tensor


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

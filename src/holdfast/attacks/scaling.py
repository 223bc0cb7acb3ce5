"""Scale invariance: gradients of ever darker copies of a picture, which a network takes for the same."""

import torch
from torch import Tensor


def copies(points: Tensor, count: int, low: float) -> Tensor:
    """(B, count, C, H, W): `points` (B, C, H, W), each copy half as far from `low`, the darkest value, as the last.

    Source: Lin et al. 2020, arXiv:1908.06281, sec. 3.2; in their box, which begins at 0, halved.
    """
    return low + (points - low)[:, None] * shares(count, points)


def back(gradient: Tensor) -> Tensor:
    """The mean over the copies (B, count, C, H, W) of their gradients, as those at the points themselves."""
    return (gradient * shares(gradient.shape[1], gradient[:, 0])).mean(1)


def shares(count: int, like: Tensor) -> Tensor:
    """1, 1/2, 1/4, ... against (B, count, ...)."""
    powers = 0.5 ** torch.arange(count, dtype=like.dtype, device=like.device)
    return powers.view(-1, *[1] * (like.ndim - 1))

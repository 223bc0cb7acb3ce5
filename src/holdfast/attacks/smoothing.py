"""Translation invariance: the gradient convolved with a kernel stands for those of the picture moved a little."""

from functools import lru_cache

import torch
from torch import Tensor

from holdfast.errors import OptionError

REACH = 3.0  # standard deviations from the middle of the kernel to its end


def smoothed(gradient: Tensor, kernel: int) -> Tensor:
    """Each channel of `gradient` (N, C, H, W) convolved with a Gaussian of `kernel` x `kernel` values that sum to 1.

    Zeros lie beyond the sides. A kernel of 1 changes nothing.
    Raises: `OptionError` for inputs that are not pictures (C, H, W).
    Source: Dong et al. 2019, arXiv:1904.02884, sec. 3.3 and eq. 8; the Gaussian's width as in their code.
    """
    if kernel == 1:
        return gradient
    if gradient.ndim != 4:
        raise OptionError(
            f"translation invariance for inputs of shape {tuple(gradient.shape[1:])}; allowed: pictures (C, H, W). "
            "Pass kernel=1."
        )
    rows, columns = (band(side, kernel).to(gradient) for side in gradient.shape[2:])
    return rows @ gradient @ columns


@lru_cache(maxsize=16)
def band(side: int, kernel: int) -> Tensor:
    """(side, side) float64, symmetric: how much each place along one axis counts for each."""
    weight = torch.exp(-(torch.linspace(-REACH, REACH, kernel, dtype=torch.float64) ** 2) / 2)
    distance = torch.arange(side)[:, None] - torch.arange(side)
    near = distance.abs() <= kernel // 2
    return torch.where(near, (weight / weight.sum())[(distance + kernel // 2).clamp(0, kernel - 1)], 0.0)

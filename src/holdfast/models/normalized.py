"""Normalisation inside the model, so that pictures stay in [0, 1] and radii in pixel units."""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError


class Normalized(nn.Module):
    """`model` of (x - mean) / std, channel by channel or with a mean of each pixel; mean and std are buffers and are
    saved with the weights.

    Args: `model` from (N, C, H, W) to logits (N, K); `mean` and `std` one number a channel, in units of the
    pixels; or `mean` a picture (C, H, W).
    Raises: `OptionError` when the two differ in length, or a number is not finite, or a std is not positive.
    """

    mean: Tensor  # (1, C, 1, 1) or (1, C, H, W)
    std: Tensor  # (1, C, 1, 1)

    def __init__(self, model: nn.Module, mean: Sequence[float] | Tensor, std: Sequence[float]) -> None:
        super().__init__()
        if not isinstance(mean, Tensor):
            check_statistics(mean, std)
            mean = torch.tensor(list(mean)).view(-1, 1, 1)
        check_statistics([0.0] * len(mean), std)
        self.model = model
        self.register_buffer("mean", mean[None].clone())
        self.register_buffer("std", torch.tensor(list(std)).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] to logits (N, K)."""
        logits: Tensor = self.model((x - self.mean) / self.std)
        return logits


PIXELS: Final = "pixels"  # the mean of a card whose model subtracts a mean picture, which is kept with the weights


def check_statistics(mean: Sequence[float], std: Sequence[float], channels: int | None = None) -> None:
    """Raises: `OptionError` unless mean and std hold one finite number a channel, std positive."""
    size = len(mean) if channels is None else channels
    if not len(mean) == len(std) == size or not size:
        raise OptionError(
            f"Normalized: {len(mean)} means and {len(std)} stds; allowed: one of each a channel"
            f"{f', here {size}' if channels else ''}."
        )
    if not all(map(math.isfinite, [*mean, *std])) or min(std) <= 0:
        raise OptionError(
            f"Normalized: mean={tuple(mean)!r}, std={tuple(std)!r}; allowed: finite numbers, std > 0, "
            "in units of pixels in [0, 1]. A mean such as 125 belongs to a 0-255 scale: divide both by 255."
        )

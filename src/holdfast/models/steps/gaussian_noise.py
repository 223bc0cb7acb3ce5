"""Noise on the pictures."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import OptionError


@dataclass(frozen=True)
class GaussianNoise:
    """Add Gaussian noise of standard deviation `std`, in input units, anew in every call; the gradient is exact.

    Draws come from torch's own generator of the pictures' device.
    Raises: `OptionError` unless `std` is finite and 0 or above.
    Source: Liu et al. 2018, arXiv:1712.00673, sec. 3.1 (the noise layer before the first convolution).
    """

    std: float = 0.1
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.std) or self.std < 0:
            raise OptionError(f"GaussianNoise: std={self.std!r}; allowed: a finite number, 0 or above, as 0.1.")

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures of any shape with noise on them."""
        return x + self.std * torch.randn_like(x)

"""Gaussian noise."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment.checks import between
from holdfast.draws import Draws
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add Gaussian noise of standard deviation `deviation` to every value by itself; cut to [0, 1].

    Raises: `OptionError` unless 0 <= deviation <= 1.
    """

    deviation: float = option(0.05, "standard deviation, black to white being 1")

    name: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        """Check the options."""
        between(self, "deviation", 0, 1, "For a twentieth of the range, pass deviation=0.05.")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The noisy pictures."""
        # A uniform number through the inverse of the distribution takes a tenth of the time of `draws.normal`. Half a
        # step further, so that the ends of the range, whose inverse is infinite, are left out: float32 ends at 5.4.
        uniform = 2 * draws.uniform(x) - 1 + torch.finfo(x.dtype).eps / 2
        return torch.erfinv(uniform).mul_(math.sqrt(2) * self.deviation).add_(x).clamp_(0, 1)

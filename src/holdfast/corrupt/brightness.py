"""More light."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Add to the value of every colour, in the coordinates hue, saturation and value; cut at 1.

    The value is the largest channel. A colour keeps hue and saturation when all its channels grow by one factor, which
    is how it is done here, for any number of channels; black, which has no hue, becomes grey. With one channel the
    strength is added to it.
    Strength: what is added, black to white being 1.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "brightness"
    levels: ClassVar[Levels[float]] = Levels(imagenet=(0.1, 0.2, 0.3, 0.4, 0.5), small=(0.05, 0.1, 0.15, 0.2, 0.3))

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The brighter pictures."""
        value = x.amax(1, keepdim=True)
        brighter = (value + strength).clamp_(max=1)
        black = value == 0
        grown = x * (brighter / value.masked_fill(black, 1))
        return torch.where(black, brighter, grown).clamp_(0, 1)

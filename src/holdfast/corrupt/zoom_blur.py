"""Zoom blur, as of a camera that comes nearer."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.filters import zoomed
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class ZoomBlur:
    """The mean of the picture and of its middle enlarged by one factor after the other, from 1 in even steps.

    Strength: where the factors end, that end left out, and their step.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code; there of square pictures, here each
    side by itself.
    """

    name: ClassVar[str] = "zoom-blur"
    levels: ClassVar[Levels[tuple[float, float]]] = Levels(
        imagenet=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        small=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    )

    def apply(self, x: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
        """The blurred pictures."""
        end, step = strength
        # As `numpy.arange` makes them: its rounding lets the end in now and then (7 factors below 1.06) and decides
        # how large the middle gets where that lies halfway between two whole numbers.
        count, apart = math.ceil((end - 1) / step), (1 + step) - 1
        factors = [1 + apart * place for place in range(count)]
        total = x.clone()
        for factor in factors:
            total += zoomed(x, factor)
        return (total / (len(factors) + 1)).clamp_(0, 1)

"""Blur by a Gaussian."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.filters import gaussian
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class GaussianBlur:
    """Blur by a Gaussian cut at 4 deviations; beyond its edge the picture repeats its outermost pixels.

    Strength: the standard deviation in pixels.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "gaussian-blur"
    levels: ClassVar[Levels[float]] = Levels(imagenet=(1, 2, 3, 4, 6), small=(0.4, 0.6, 0.7, 0.8, 1))

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The blurred pictures."""
        return gaussian(x, strength).clamp_(0, 1)

"""Speckle: noise that grows with the light."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import normal
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class SpeckleNoise:
    """Add to every value Gaussian noise times the value; cut to [0, 1].

    Strength: the standard deviation of the noise on white.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "speckle-noise"
    levels: ClassVar[Levels[float]] = Levels(imagenet=(0.15, 0.2, 0.35, 0.45, 0.6), small=(0.06, 0.1, 0.12, 0.16, 0.2))

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The noisy pictures."""
        return normal(draws, *x.shape[1:]).to(x).mul_(strength).mul_(x).add_(x).clamp_(0, 1)

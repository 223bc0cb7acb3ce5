"""Gaussian noise, as of a sensor in low light."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import normal
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Add Gaussian noise to every value by itself; cut to [0, 1].

    Strength: its standard deviation, black to white being 1.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "gaussian-noise"
    levels: ClassVar[Levels[float]] = Levels(
        imagenet=(0.08, 0.12, 0.18, 0.26, 0.38), small=(0.04, 0.06, 0.08, 0.09, 0.1)
    )

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The noisy pictures."""
        return normal(draws, *x.shape[1:]).to(x).mul_(strength).add_(x).clamp_(0, 1)

"""Less contrast."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.draws import Draws

UNIT = 2.0**-40  # what values are rounded to before they are added up


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Multiply all distances from a channel's mean by a factor below 1.

    Strength: the factor; smaller is flatter.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "contrast"
    levels: ClassVar[Levels[float]] = Levels(imagenet=(0.4, 0.3, 0.2, 0.1, 0.05), small=(0.75, 0.5, 0.4, 0.3, 0.15))

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The flatter pictures."""
        # Whole numbers add up to the same in any order, and so to the same bits in any batch.
        total = (x.double() / UNIT).round().long().sum((2, 3), keepdim=True)
        middle = (total.double() * (UNIT / (x.shape[2] * x.shape[3]))).to(x)
        return ((x - middle) * strength).add_(middle).clamp_(0, 1)

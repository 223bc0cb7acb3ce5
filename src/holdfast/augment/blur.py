"""Out of focus."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import bounds, chance
from holdfast.draws import Draws
from holdfast.lanes import column
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Blur one picture in so many with a Gaussian of standard deviation uniform in `deviation`, in pixels.

    The Gaussian reaches three of the largest deviations to each side, at most the picture's own side; beyond its edge
    the picture is mirrored at the centres of its outermost pixels.
    Raises: `OptionError` unless 0 <= chance <= 1 and 0.05 <= least <= largest <= 10.
    """

    deviation: tuple[float, float] = option((0.1, 1.0), "smallest and largest standard deviation, in pixels")
    chance: float = option(0.5, "share of the pictures")

    name: ClassVar[str] = "blur"

    def __post_init__(self) -> None:
        """Check the options."""
        bounds(self, "deviation", 0.05, 10, "For up to a pixel, pass deviation=(0.1, 1.0).")
        chance(self)

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One deviation a picture."""
        from kornia.filters import gaussian_blur2d

        drawn = numbers(draws, 2)
        least, largest = self.deviation
        deviation = (least + (largest - least) * drawn[:, :1]).expand(-1, 2).to(x)
        reach = math.ceil(3 * largest)
        height, width = (min(2 * reach + 1, 2 * room - 1) for room in x.shape[2:])
        blurred: Tensor = gaussian_blur2d(x, (height, width), deviation, border_type="reflect")
        return torch.where(column(drawn[:, 1] < self.chance, x), blurred.clamp_(0, 1), x)

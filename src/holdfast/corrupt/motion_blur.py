"""Motion blur, as of a camera that moves."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import LEVELS, between, rounded
from holdfast.corrupt.motion import smeared
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class MotionBlur:
    """Smear each picture along a line under an angle uniform in [-45, 45] degrees, by half a Gaussian.

    Rounded to 8 bits before and after, as the published code hands a file to ImageMagick and takes one back.
    Strength: half the length of the line and the Gaussian's deviation, in pixels.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "motion-blur"
    levels: ClassVar[Levels[tuple[int, float]]] = Levels(
        imagenet=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), small=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))
    )

    def apply(self, x: Tensor, strength: tuple[int, float], draws: Draws) -> Tensor:
        """The smeared pictures."""
        blurred = smeared(rounded(x), *strength, between(draws, -45, 45, 1)[:, 0])
        return blurred.round_().div_(LEVELS).clamp_(0, 1)

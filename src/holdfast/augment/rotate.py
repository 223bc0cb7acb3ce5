"""The picture turned about its centre."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from holdfast.augment import warp
from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import between
from holdfast.draws import Draws
from holdfast.options import one_of, option


@dataclass(frozen=True, kw_only=True)
class Rotate:
    """Turn each picture about its centre by an angle uniform in [-degrees, degrees]; linear between pixels.

    Raises: `OptionError` unless 0 <= degrees <= 180, or for an unknown border.
    """

    degrees: float = option(15.0, "largest angle, to either side")
    border: warp.Border = field(default="zeros", metadata={"help": "what is outside: zeros, or the picture mirrored"})

    name: ClassVar[str] = "rotate"

    def __post_init__(self) -> None:
        """Check the options."""
        between(self, "degrees", 0, 180, "For any angle, pass degrees=180.")
        one_of(self, "border")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One angle a picture."""
        return warp.warped(x, self._maps(draws), self.border)

    def move(self, mask: Tensor, draws: Draws, fill: float = 0) -> Tensor:
        """The same angle, nearest pixel."""
        return warp.moved(mask, self._maps(draws), self.border, fill)

    def _maps(self, draws: Draws) -> Tensor:
        return warp.turn(math.radians(self.degrees) * (2 * numbers(draws, 1)[:, 0] - 1))

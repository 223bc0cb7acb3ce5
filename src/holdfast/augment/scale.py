"""The picture larger or smaller."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from holdfast.augment import warp
from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import bounds
from holdfast.draws import Draws
from holdfast.options import one_of, option


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Make what a picture shows larger or smaller about its centre, by a factor uniform in `factor`, sides unchanged.

    Linear between pixels and without a blur before it: for factors far below 1 put a `Blur` in front.
    Raises: `OptionError` unless 0.1 <= least <= largest <= 10, or for an unknown border.
    """

    factor: tuple[float, float] = option((0.8, 1.2), "smallest and largest factor")
    border: warp.Border = field(default="zeros", metadata={"help": "what is outside: zeros, or the picture mirrored"})

    name: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        """Check the options."""
        bounds(self, "factor", 0.1, 10, "For a fifth smaller to a fifth larger, pass factor=(0.8, 1.2).")
        one_of(self, "border")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One factor a picture."""
        return warp.warped(x, self._maps(draws), self.border)

    def move(self, mask: Tensor, draws: Draws, fill: float = 0) -> Tensor:
        """The same factor, nearest pixel."""
        return warp.moved(mask, self._maps(draws), self.border, fill)

    def _maps(self, draws: Draws) -> Tensor:
        least, largest = self.factor
        return warp.zoom(least + (largest - least) * numbers(draws, 1)[:, 0])

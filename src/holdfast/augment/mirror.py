"""Left and right exchanged."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import chance
from holdfast.draws import Draws
from holdfast.lanes import column
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Exchange left and right of one picture in so many. Not for digits and letters, whose class that changes.

    Raises: `OptionError` unless 0 <= chance <= 1.
    """

    chance: float = option(0.5, "share of the pictures")

    name: ClassVar[str] = "mirror"

    def __post_init__(self) -> None:
        """Check the options."""
        chance(self)

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """Mirrored or not."""
        return self.move(x, draws)

    def move(self, mask: Tensor, draws: Draws, fill: float = 0) -> Tensor:
        """The same of the mask; nothing comes in from outside, so that `fill` is not used."""
        return torch.where(column(numbers(draws, 1)[:, 0] < self.chance, mask), mask.flip(-1), mask)

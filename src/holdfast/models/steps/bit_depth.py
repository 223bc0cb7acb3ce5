"""Fewer grey levels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.errors import OptionError


@dataclass(frozen=True)
class BitDepth:
    """Round values in [0, 1] to the nearest of 2^`bits` evenly spread levels; straight through on the way back.

    Raises: `OptionError` unless `bits` is a whole number from 1 to 16.
    Source: Xu, Evans & Qi 2018, arXiv:1704.01155, sec. III.A (colour depth reduction).
    """

    bits: int = 3
    backward: ClassVar[str] = "straight_through"

    def __post_init__(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 16:
            raise OptionError(f"BitDepth: bits={self.bits!r}; allowed: whole numbers from 1 to 16. 3 gives 8 levels.")

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures of any shape, rounded."""
        steps: int = 2**self.bits - 1
        return (x * steps).round() / steps

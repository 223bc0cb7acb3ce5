"""Regularised adaptive prediction sets."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.uncertainty.aps import climb
from holdfast.uncertainty.checks import check_count


@dataclass(frozen=True, kw_only=True)
class RAPS:
    """Adaptive sets with a price on every class beyond the first few, which keeps long tails of classes out.

    Strangeness as in `APS`, plus `penalty` times how far the class's rank is beyond `free`.
    Source: Angelopoulos et al. 2021, arXiv:2009.14193, sec. 2 (penalty lambda, k_reg = `free`), where both are chosen
    on further pictures; here they are options.
    Raises: `OptionError` for a negative penalty, or `free` below 0.
    """

    penalty: float = option(0.1, "added a class beyond the first few")
    free: int = option(1, "classes without penalty")
    randomised: bool = option(True, "draw how much of its own probability a class has to pay")
    name: ClassVar[str] = "raps"

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise OptionError(f"RAPS: penalty={self.penalty!r}; allowed: numbers >= 0, such as 0.1.")
        check_count("RAPS", "free", self.free, least=0)

    def strangeness(self, p: Tensor, u: Tensor) -> Tensor:
        """See `Rule.strangeness`."""
        climbed, rank = climb(p, u if self.randomised else u.new_ones(u.shape))
        return climbed + self.penalty * (rank - self.free).clamp_min(0)

"""More or less light."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import between
from holdfast.draws import Draws
from holdfast.lanes import column
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Multiply all values of a picture by a factor uniform in [1 - amount, 1 + amount]; cut to [0, 1].

    Raises: `OptionError` unless 0 <= amount <= 1.
    """

    amount: float = option(0.4, "largest share by which it is brighter or darker")

    name: ClassVar[str] = "brightness"

    def __post_init__(self) -> None:
        """Check the options."""
        between(self, "amount", 0, 1, "For factors from 0.6 to 1.4, pass amount=0.4.")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One factor a picture."""
        factor = 1 + self.amount * (2 * numbers(draws, 1)[:, 0] - 1)
        return (x * column(factor, x).to(x)).clamp_(0, 1)

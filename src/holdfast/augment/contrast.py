"""More or less contrast."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import between
from holdfast.draws import Draws
from holdfast.lanes import column
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Multiply all distances from the picture's mean grey by a factor uniform in [1 - amount, 1 + amount]; cut to
    [0, 1].

    The grey of three channels is their luma (0.299, 0.587, 0.114: ITU-R BT.601); of any other number, their mean.
    Raises: `OptionError` unless 0 <= amount <= 1.
    """

    amount: float = option(0.4, "largest share by which distances from the mean grey grow or shrink")

    name: ClassVar[str] = "contrast"

    def __post_init__(self) -> None:
        """Check the options."""
        between(self, "amount", 0, 1, "For factors from 0.6 to 1.4, pass amount=0.4.")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One factor a picture."""
        factor = column(1 + self.amount * (2 * numbers(draws, 1)[:, 0] - 1), x).to(x)
        middle = column(mean_grey(x), x)
        return (middle + factor * (x - middle)).clamp_(0, 1)


def mean_grey(x: Tensor) -> Tensor:
    """(N,): the mean over pixels of the grey of pictures (N, C, H, W)."""
    means = x.mean((2, 3))
    return means @ means.new_tensor([0.299, 0.587, 0.114]) if x.shape[1] == 3 else means.mean(1)

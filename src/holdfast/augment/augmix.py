"""AugMix: a picture mixed with what several short chains of operations make of it."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import between, whole
from holdfast.augment.operations import OPERATIONS, amounts, operate
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import column
from holdfast.options import option, refused


@dataclass(frozen=True, kw_only=True)
class AugMix:
    """Mix `width` chains of random operations with weights from Dirichlet(1, ..., 1), and that with the picture.

    A chain has a number of operations uniform from the least to the most of `depth`, each one of nine (autocontrast,
    equalize, posterize, solarize, rotate, shear and translate both ways), at a level uniform in [0.1, severity]. The
    picture's own share is Beta(1, 1), that is uniform. Any number of channels, each by itself. The operations on levels
    round values to 256 of them first, as they are defined for 8-bit pictures; the others and the mixing do not round.
    A mask cannot follow, as chains move the picture to different places and are then mixed.
    For the consistency term, mix the same pictures twice under two seeds and give the logits of the clean and the two
    mixed versions to `losses.training.jensen_shannon`.
    Raises: `OptionError` unless width >= 1, 1 <= least <= most depth, 0.1 <= severity <= 10.
    Source: Hendrycks et al. 2020, arXiv:1912.02781, algorithm 1 and sec. 3.
    """

    width: int = option(3, "chains that are mixed")
    depth: tuple[int, int] = option((1, 3), "fewest and most operations in a chain")
    severity: float = option(3.0, "highest level of an operation, from 0.1 to 10")

    name: ClassVar[str] = "augmix"

    def __post_init__(self) -> None:
        """Check the options."""
        whole(self, "width", 1)
        between(self, "severity", 0.1, 10, "As published, pass severity=3.")
        counts = len(self.depth) == 2 and all(isinstance(count, int) for count in self.depth)
        if not (counts and 1 <= self.depth[0] <= self.depth[1]):
            raise refused(self, "depth", "two whole numbers from 1 up, the smaller one first", "Pass depth=(1, 3).")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The mixed pictures."""
        weight = draws.exponential(x.new_empty(len(x), self.width), stream=1)
        weight = weight / weight.sum(1, keepdim=True)
        chains = self._chains(x, draws).view(len(x), self.width, *x.shape[1:])
        mixed = (chains * weight[:, :, None, None, None]).sum(1)
        own = column(numbers(draws, 1, stream=2)[:, 0], x).to(x)
        return (own * x + (1 - own) * mixed).clamp_(0, 1)

    def move(self, mask: Tensor, draws: Draws, fill: float = 0) -> Tensor:
        """Raises: `OptionError`, always."""
        raise OptionError(
            "augmix: a mask cannot follow, as versions of the picture that are moved differently are mixed; allowed: "
            "pictures without masks. Leave the masks out, or use rotate, scale, crop and mirror."
        )

    def _chains(self, x: Tensor, draws: Draws) -> Tensor:
        """(N * width, C, H, W): the chains of each picture, one after the other."""
        fewest, most = self.depth
        drawn = numbers(draws, self.width, 1 + 3 * most).flatten(0, 1)
        length = fewest + (drawn[:, 0] * (most - fewest + 1)).long()
        chains = x.repeat_interleave(self.width, 0)
        for step in range(most):
            kind, level, side = drawn[:, 1 + 3 * step : 4 + 3 * step].unbind(1)
            number = (kind * len(OPERATIONS)).long()
            amount = amounts(number, 0.1 + (self.severity - 0.1) * level, side < 0.5, *x.shape[2:])
            chains = operate(chains, step < length, number, amount)
        return chains

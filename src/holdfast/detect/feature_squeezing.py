"""How far the prediction moves when the picture is squeezed: attacks live on detail that classes do not need."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.data import Pictures
from holdfast.detect.interface import Progress
from holdfast.errors import OptionError
from holdfast.models.guarded import Suspicion
from holdfast.models.steps import BitDepth, Step
from holdfast.options import option, refused
from holdfast.uncertainty.scores.checks import whole


@dataclass(frozen=True, kw_only=True)
class FeatureSqueezing:
    """The largest L1 distance between the softmax of the picture and that of its squeezed forms: in [0, 2].

    It is squeezed to fewer grey levels, and apart from that by a median filter; nothing is fitted but the threshold.
    The third squeezer of the source, non-local means, is left out. The source takes 1 bit for MNIST and 5 for CIFAR-10
    and ImageNet, each with a 2 x 2 filter.
    Who attacks it goes straight through the rounding; the filter's own gradient is exact.
    Cost: a forward pass for the picture and for each of its squeezed forms; as many backward for its gradient.
    Source: Xu, Evans & Qi 2018, arXiv:1704.01155, sec. III.
    """

    bits: int | None = option(5, "a value is rounded to 2^bits levels; none: no rounding")
    median: int | None = option(2, "pixels on a side of the median filter's window; none: no filter")
    name: ClassVar[str] = "feature-squeezing"

    def __post_init__(self) -> None:
        """Check the options."""
        if self.bits is not None:
            BitDepth(self.bits)
        if self.median is not None:
            whole(self, "median", least=2)
        if self.bits is None and self.median is None:
            raise OptionError(
                "FeatureSqueezing: bits=None and median=None; allowed: at least one of them. For example bits=5."
            )

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> Suspicion:
        """Nothing is learnt."""
        return self.outline(model, pictures.shape)

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> Suspicion:
        """It has no values of its own. Raises: `OptionError` for a window that is wider than the pictures."""
        side = min(shape[1:])
        if self.median is not None and self.median > side:
            raise refused(self, "median", f"at most {side}, the shorter side of the pictures", "Pass median=2.")
        return Squeezed(self)


class Squeezed(Suspicion):
    """The distance of predictions for a picture and its squeezed forms."""

    def __init__(self, of: FeatureSqueezing) -> None:
        super().__init__()
        self.of = of
        self.rounding = None if of.bits is None else Step(BitDepth(of.bits))
        self.gradient = "exact" if of.bits is None else "straight_through"

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the largest distance (N,)."""
        logits = model(x)
        own = logits.double().softmax(1)
        moved = [(model(form).double().softmax(1) - own).abs().sum(1) for form in self.forms(x)]
        return logits, torch.stack(moved).amax(0).to(logits)

    def forms(self, x: Tensor) -> list[Tensor]:
        """The squeezed forms of pictures (N, C, H, W)."""
        rounded = [] if self.rounding is None else [self.rounding(x)]
        return rounded if self.of.median is None else [*rounded, median_filter(x, self.of.median)]


def median_filter(x: Tensor, side: int) -> Tensor:
    """The median of the `side` x `side` window about each pixel of (N, C, H, W), channel by channel.

    Of an even number of values the upper of the two in the middle; a window of even side begins half of it above and
    to the left of its pixel. Beyond its edges the picture goes on mirrored, the edge itself twice. So it is what
    scipy.ndimage.median_filter gives. The gradient goes to the pixel that is the median.
    Memory: side^2 values a pixel.
    """
    for dim in (2, 3):
        x = x.index_select(dim, mirrored(x.shape[dim], side).to(x.device))
    windows = x.unfold(2, side, 1).unfold(3, side, 1).flatten(-2)
    middle: Tensor = windows.kthvalue(side * side // 2 + 1, dim=-1).values
    return middle


def mirrored(size: int, side: int) -> Tensor:
    """The rows (size + side - 1,) of a picture that its windows see, in order."""
    at = torch.arange(-(side // 2), size + (side - 1) // 2) % (2 * size)
    return torch.minimum(at, 2 * size - 1 - at)

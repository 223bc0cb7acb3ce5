"""Every pixel is taken from a place near by."""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import DataError, OptionError
from holdfast.threats.linf import Linf
from holdfast.threats.rendered import Border, check_border, check_eps, sampled, unmoved
from holdfast.threats.threat import check

__all__ = ["Flow"]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Every pixel is taken from a place up to `eps` pixels further down or up, and to the right or left.

    Parameters (2, H, W), in pixels: how far down and how far to the right each pixel looks. A positive `smooth` makes
    the deformation elastic: the field is averaged by a Gaussian that wide first, its weights summing to 1 also at the
    sides, so that no pixel looks further than its largest parameter, which is the size. With 0 all pixels move freely.
    `border` as of `Rotation`; between pixels values are interpolated linearly.
    Raises: `OptionError` unless low < high, eps >= 0 and smooth >= 0, both finite (shape only for a tensor).
    Source: the field, Xiao et al. 2018, arXiv:1801.02612, sec. 3 (there without a radius, a penalty on differences
    between neighbours instead); its smoothing, Simard, Steinkraus & Platt 2003, sec. 2.
    """

    eps: float | Tensor  # pixels; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0
    smooth: float = field(default=0.0, metadata={"help": "width in pixels of the Gaussian that smooths the field"})
    border: Border = field(default="edge", metadata={"help": "what comes in from outside"})

    name: ClassVar[str] = "flow"
    unit: ClassVar[str] = "pixels"
    grain: ClassVar[float] = 0.0
    sparse: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the options."""
        check(Linf(eps=0, low=self.low, high=self.high))
        check_eps("Flow", self.eps, math.inf, self.unit)
        check_border("Flow", self.border)
        if not 0 <= self.smooth < math.inf:
            raise OptionError(f"Flow: smooth={self.smooth!r}; allowed: 0 or more pixels, finite. 0 smooths nothing.")

    def ball(self, shape: tuple[int, ...]) -> Linf:
        """Each value by itself, no further than across the picture."""
        widest = float(max(self.shape(shape)[1:]))
        return Linf(eps=self.eps, low=-widest, high=widest)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Two values a pixel."""
        if len(shape) != 3:
            raise DataError(f"inputs of shape {tuple(shape)} cannot be deformed; allowed: pictures (C, H, W).")
        return (2, *shape[1:])

    def render(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Each pixel looks up where it comes from."""
        vectors = self.smoothed(parameters.to(x))
        rows = torch.arange(x.shape[2], device=x.device, dtype=x.dtype)[:, None] + vectors[:, 0]
        columns = torch.arange(x.shape[3], device=x.device, dtype=x.dtype) + vectors[:, 1]
        return unmoved(sampled(x, rows, columns, self.border, self.low, self.high), x, parameters)

    def smoothed(self, parameters: Tensor) -> Tensor:
        """The field (N, 2, H, W) that pixels look along."""
        if self.smooth == 0:
            return parameters
        down, across = (gaussian(side, self.smooth).to(parameters) for side in parameters.shape[2:])
        return torch.einsum("ai,ncij,bj->ncab", down, parameters, across)

    def with_eps(self, eps: float | Tensor) -> "Flow":
        """The same with another radius."""
        return replace(self, eps=eps)


@lru_cache(maxsize=16)
def gaussian(side: int, width: float) -> Tensor:
    """(side, side): the weights that each place gives to all others, float64, every row summing to 1."""
    place = torch.arange(side, dtype=torch.float64)
    return F.softmax(-((place[:, None] - place) / width).square() / 2, 1)

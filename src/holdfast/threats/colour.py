"""Colours are exchanged for others, the same everywhere in a picture."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import DataError, OptionError
from holdfast.threats.linf import Linf
from holdfast.threats.rendered import check_eps, unmoved
from holdfast.threats.threat import check

__all__ = ["Colour"]


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Every colour moves by up to `eps` in each channel, pixels of one colour all alike, then into the box.

    With `bins` = 1 all colours move by the same: parameters (C, 1, 1). With more, the move is a function of the colour:
    it is given at `bins` levels of each channel, evenly spread over the box, and interpolated linearly between, with
    parameters (1, 1, bins) for grey pictures and (3, bins, bins, bins) for colours, last axis first channel. A
    picture's size is its largest parameter.
    Raises: `OptionError` unless low < high, 0 <= eps <= high - low and bins >= 1 (shape only for a tensor).
    Source: Laidlaw & Feizi 2019, arXiv:1906.00001, sec. 3 and 4 (there in a colour space of its own, with a penalty
    on differences between neighbouring levels).
    """

    eps: float | Tensor  # in input units; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0
    bins: int = field(default=1, metadata={"help": "levels of each channel at which a move of its own is given"})

    name: ClassVar[str] = "colour"
    unit: ClassVar[str] = "input units"
    grain: ClassVar[float] = 0.0
    sparse: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the options."""
        check(Linf(eps=0, low=self.low, high=self.high))
        check_eps("Colour", self.eps, self.high - self.low, self.unit)
        if self.bins < 1:
            raise OptionError(f"Colour: bins={self.bins!r}; allowed: 1, 2, 3, ...; 1 moves all colours alike.")

    def ball(self, shape: tuple[int, ...]) -> Linf:
        """Each parameter by itself, no further than across the box."""
        widest = self.high - self.low
        return Linf(eps=self.eps, low=-widest, high=widest)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One value a channel, or one at each level of it."""
        if len(shape) != 3 or (self.bins > 1 and shape[0] not in (1, 3)):
            most = "" if self.bins == 1 else f" of 1 or 3 channels where bins={self.bins}, of any where it is 1"
            raise DataError(
                f"inputs of shape {tuple(shape)} have no colours to move; allowed: pictures (C, H, W){most}."
            )
        if self.bins == 1:
            return (shape[0], 1, 1)
        return (1, 1, self.bins) if shape[0] == 1 else (3, self.bins, self.bins, self.bins)

    def render(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Look up the move of each pixel's colour, and make it."""
        move = parameters.to(x) if self.bins == 1 else self.looked_up(x, parameters.to(x))
        return unmoved((x + move).clamp(self.low, self.high), x, parameters)

    def looked_up(self, x: Tensor, parameters: Tensor) -> Tensor:
        """(N, C, H, W): the move of each pixel's colour."""
        place = (x - self.low) * (2 / (self.high - self.low)) - 1  # levels from -1 to 1
        if x.shape[1] == 1:
            grid = torch.stack([place[:, 0], torch.zeros_like(place[:, 0])], 3)
            return F.grid_sample(parameters, grid, padding_mode="border", align_corners=True)
        grid = place.permute(0, 2, 3, 1)[:, None]
        return F.grid_sample(parameters, grid, padding_mode="border", align_corners=True)[:, :, 0]

    def with_eps(self, eps: float | Tensor) -> "Colour":
        """The same with another radius."""
        return replace(self, eps=eps)

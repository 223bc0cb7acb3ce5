"""Squares set to zero."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import whole
from holdfast.draws import Draws
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Set squares of `side` pixels to zero in all channels, each centred on any pixel, so that it may stick out.

    For training alone. Zero is black, as pictures are not normalised here; the source cuts out after normalisation,
    where zero is the mean colour. An even side reaches a pixel further up and to the left of its centre.
    Raises: `OptionError` for a side below 1 or a number below 0.
    Source: DeVries & Taylor 2017, arXiv:1708.04552, sec. 3, with one square of side 16 on CIFAR-10, 8 on CIFAR-100.
    """

    side: int = option(8, "pixels along a side")
    squares: int = option(1, "how many in each picture; they may overlap")

    name: ClassVar[str] = "cutout"

    def __post_init__(self) -> None:
        """Check the options."""
        whole(self, "side", 1)
        whole(self, "squares", 0)

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The pictures with holes."""
        height, width = x.shape[2:]
        centre = numbers(draws, self.squares, 2)  # as a share of the sides
        rows, columns = self._covered(centre[..., 0], height), self._covered(centre[..., 1], width)
        hole = (rows[:, :, :, None] & columns[:, :, None, :]).any(1, keepdim=True)
        return x.masked_fill(hole, 0)

    def _covered(self, share: Tensor, room: int) -> Tensor:
        """(N, squares, room) bool: the places along one side that each square covers."""
        start = (share * room).floor()[:, :, None] - self.side // 2
        place = torch.arange(room, device=share.device)
        return (place >= start) & (place < start + self.side)

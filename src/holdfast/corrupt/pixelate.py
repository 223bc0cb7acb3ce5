"""Too few pixels."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import LEVELS, rounded
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Pixelate:
    """Make pictures smaller, each pixel the mean of those whose centres it covers, and enlarge the pixels again.

    In whole 8-bit levels, rounded after either direction: bit by bit what Pillow's box filter makes of them.
    Strength: the share of the side that is left.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "pixelate"
    levels: ClassVar[Levels[float]] = Levels(imagenet=(0.6, 0.5, 0.4, 0.3, 0.25), small=(0.95, 0.9, 0.85, 0.75, 0.65))

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The pictures of larger pixels."""
        height, width = x.shape[2:]
        level = rounded(x).float()
        # Sums of levels are whole numbers below 2^24: exact in float32, in whatever order they are added up.
        members, count, back = (part.to(x.device) for part in _windows(width, int(width * strength)))
        level = _mean(level @ members.T, count) @ back
        members, count, back = (part.to(x.device) for part in _windows(height, int(height * strength)))
        return (back.T @ _mean(members @ level, count[:, None])).to(x.dtype).div_(LEVELS)


def _mean(total: Tensor, count: Tensor) -> Tensor:
    """The level nearest to total / count, halves up."""
    return ((total + count / 2) / count).floor_()


@cache
def _windows(side: int, small: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which pixels a smaller one is made of, (small, side); how many those are; which a larger one shows."""
    scale = side / small
    places = torch.arange(side, dtype=torch.float64)
    centres = ((torch.arange(small, dtype=torch.float64) + 0.5) * scale)[:, None]
    # In Pillow's steps, whose rounding decides about pixels whose centre lies on the edge of a larger one.
    first, last = ((centres + (side_of * scale * 0.5 + 0.5)).floor() for side_of in (-1, 1))
    apart = (places - centres + 0.5) * (1 / scale)
    members = ((places >= first) & (places < last) & (apart > -0.5) & (apart <= 0.5)).float()
    shown = ((places + 0.5) * (small / side)).floor().clamp_(max=small - 1).long()
    return members, members.sum(1), torch.nn.functional.one_hot(shown, small).T.float()

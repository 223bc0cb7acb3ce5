"""Fog."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import uniform
from holdfast.draws import Draws

FIRST = 100.0  # how far apart the coarsest heights lie; only its decay matters, as heights are scaled to [0, 1]


@dataclass(frozen=True, kw_only=True)
class Fog:
    """Add a cloud and scale so that the picture's largest value stays what it was.

    The cloud is a plasma fractal: heights in [0, 1] by the diamond-square algorithm on a square grid that closes on
    itself, whose side is the power of two from the picture's longer side up; the picture has its upper left part.
    Strength: how much of the cloud is added, and by how much its heights vary less from one scale to the next finer.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "fog"
    levels: ClassVar[Levels[tuple[float, float]]] = Levels(
        imagenet=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    )

    def apply(self, x: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
        """The pictures in fog."""
        thickness, decay = strength
        height, width = x.shape[2:]
        side = 1 << (max(height, width) - 1).bit_length()
        cloud = plasma(uniform(draws, side, side).double(), decay)[:, None, :height, :width].to(x)
        largest = x.amax((1, 2, 3), keepdim=True)
        return (x + thickness * cloud).mul_(largest / (largest + thickness)).clamp_(0, 1)


def plasma(drawn: Tensor, decay: float) -> Tensor:
    """Heights (N, S, S) in [0, 1] by diamond-square, from numbers `drawn` uniform in [0, 1), one for each height.

    The published code multiplies its spread by a number that is itself drawn up to that spread, so that from one scale
    to the next heights vary less by the square of `decay`.
    Args: `drawn` (N, S, S) float, S a power of two; the first is not used, its height is 0.
    """
    heights = torch.zeros_like(drawn)
    side, spread = drawn.shape[1], FIRST
    while side >= 2:
        half, noise = side // 2, (2 * drawn - 1) * spread**2
        coarse = heights[:, ::side, ::side]
        pairs = coarse + coarse.roll(-1, 1)
        middle = (pairs + pairs.roll(-1, 2)) / 4 + noise[:, half::side, half::side]
        heights[:, half::side, half::side] = middle
        # Above and below, left and right of every point between two others.
        across = (middle + middle.roll(1, 1) + (coarse + coarse.roll(-1, 2))) / 4
        heights[:, ::side, half::side] = across + noise[:, ::side, half::side]
        down = (middle + middle.roll(1, 2) + (coarse + coarse.roll(-1, 1))) / 4
        heights[:, half::side, ::side] = down + noise[:, half::side, ::side]
        side, spread = half, spread / decay
    heights -= heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)

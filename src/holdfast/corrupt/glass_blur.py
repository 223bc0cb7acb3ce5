"""Seen through frosted glass: pixels trade places with their neighbours."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import LEVELS, cut
from holdfast.corrupt.filters import gaussian
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.options import one_of, option


@dataclass(frozen=True, kw_only=True)
class GlassBlur:
    """Blur, cut to 8 bits, let every pixel in turn meet a neighbour at random, and blur again.

    From the lower right corner, row by row, each pixel meets one that is up to d before or d - 1 behind it both ways.
    The published code says that the two are swapped. For pictures of three channels it copies: its right-hand side are
    views, of which the first has changed before the second is read. The published sets are made so, and so is this one
    by default: the pixel takes its neighbour's value, and the neighbour keeps it.
    Strength: the blurs' deviation in pixels, d, and how often all pixels take their turn.
    Raises: `OptionError` when applied to pictures with a side below 2 d + 1, in which no pixel takes a turn.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    shuffle: Literal["copy", "swap"] = option("copy", "what a pixel does with its neighbour; copy is as published")

    name: ClassVar[str] = "glass-blur"
    levels: ClassVar[Levels[tuple[float, int, int]]] = Levels(
        imagenet=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    )

    def __post_init__(self) -> None:
        """Check the options."""
        one_of(self, "shuffle")

    def apply(self, x: Tensor, strength: tuple[float, int, int], draws: Draws) -> Tensor:
        """The pictures behind glass."""
        deviation, most, rounds = strength
        height, width = x.shape[2:]
        if min(height, width) < 2 * most + 1:
            raise OptionError(
                f"{self.name}: pictures of {height}x{width}; allowed at this severity: from {2 * most + 1}x"
                f'{2 * most + 1} up. Take table="small", or a lower severity.'
            )
        turns = (height - 2 * most, width - 2 * most)
        places = torch.empty(len(x), rounds, 2, *turns, device=x.device)
        steps = draws.integers(places, 2 * most) - most
        sources = shuffled(steps, most, height, width, swap=self.shuffle == "swap")
        levels = cut(gaussian(x, deviation)).flatten(2)
        moved = levels.gather(2, sources[:, None].expand_as(levels)).view_as(x)
        return gaussian(moved.div_(LEVELS), deviation).clamp_(0, 1)


def shuffled(steps: Tensor, most: int, height: int, width: int, *, swap: bool) -> Tensor:
    """Where each pixel's value comes from, (N, H * W) int64, after all turns have been taken one after the other.

    Args: `steps` (N, rounds, 2, H - 2 most, W - 2 most) int64 in [-most, most): how far down and to the right the
    neighbour lies, in the order of turns: rows from below, within them from the right.
    """
    turns, pixels, counts = _waves(height, width, most)
    turn, pixel = (torch.tensor(places, device=steps.device) for places in (turns, pixels))
    down, right = steps.flatten(3).unbind(2)
    met = (down * width + right)[:, :, turn] + pixel
    where = torch.arange(height * width, device=steps.device).repeat(len(steps), 1)
    for others in met.unbind(1):
        for own, other in zip(pixel.split(counts), others.split(counts, 1)):
            taken = where.gather(1, other)
            if swap:
                where.scatter_(1, other, where[:, own])
            where.index_copy_(1, own, taken)
    return where


@cache
def _waves(height: int, width: int, most: int) -> tuple[list[int], list[int], list[int]]:
    """The turns put into waves whose pixels cannot meet: their numbers, their pixels, and how many each wave has.

    Two turns have to keep their order only where both ways their pixels lie less than 2 `most` apart. Each row begins
    2 `most` turns after the one below it, so that the turns of one moment lie further apart than that; and whichever of
    two turns that could meet came first before still does.
    """
    rows, columns = height - 2 * most, width - 2 * most
    waves: dict[int, list[int]] = {}
    for row in range(rows):
        for column in range(columns):
            waves.setdefault(column + 2 * most * row, []).append(row * columns + column)
    turns = [turn for moment in sorted(waves) for turn in waves[moment]]
    places = ((height - most - turn // columns, width - most - turn % columns) for turn in turns)
    return turns, [row * width + column for row, column in places], [len(waves[moment]) for moment in sorted(waves)]

"""Shot noise: light comes in quanta."""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import LEVELS, rounded, uniform
from holdfast.draws import Draws

CELLS = 1024  # of the table that says where to begin looking
BITS = 24  # of a uniform number


@dataclass(frozen=True, kw_only=True)
class ShotNoise:
    """Replace every value by a Poisson number of quanta, of so many for white; cut to [0, 1].

    The expected number is that of the nearest 8-bit level, of which the published pictures consist.
    Strength: quanta for white; fewer are noisier.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "shot-noise"
    levels: ClassVar[Levels[int]] = Levels(imagenet=(60, 25, 12, 5, 3), small=(500, 250, 100, 75, 50))

    def apply(self, x: Tensor, strength: int, draws: Draws) -> Tensor:
        """The noisy pictures."""
        counts = poisson(rounded(x.detach()).long(), strength, uniform(draws, *x.shape[1:]))
        return (counts.to(x.dtype) / strength).clamp_(0, 1)


def poisson(level: Tensor, quanta: int, drawn: Tensor) -> Tensor:
    """Poisson numbers of mean quanta * level / 255: the smallest whose distribution function exceeds `drawn`.

    Each of the 2^24 uniform numbers stands for the middle of its step: 0 itself would be no quanta, however bright.
    Args: `level` int64 in [0, 255]; `drawn` float32 in [0, 1), of the same shape. Returns int64.
    """
    below, begin = (table.to(level.device) for table in _tables(quanta))
    columns = below.shape[1]
    cell = (drawn * CELLS).long()
    count = begin.take(level * CELLS + cell).long()
    row = level * columns
    # Where the look-up began too low: few values, and fewer every time.
    rest = (drawn >= below.take(row + count)).flatten().nonzero().squeeze(1)
    count, row, drawn = count.flatten(), row.flatten(), drawn.flatten()
    while len(rest):
        count[rest] += 1
        rest = rest[drawn[rest] >= below.take(row[rest] + count[rest])]
    return count.view(level.shape)


@cache
def _tables(quanta: int) -> tuple[Tensor, Tensor]:
    """Distribution functions (256, K) float32 by level, and (256, cells) the number at which to begin in each cell.

    Rounded to the step of a uniform number at whose middle they are reached.
    """
    from scipy.stats import poisson as law

    mean = torch.arange(LEVELS + 1, dtype=torch.float64) * (quanta / LEVELS)
    most = math.ceil(quanta + 10 * math.sqrt(quanta) + 20)
    exact = torch.from_numpy(law.cdf(torch.arange(most)[None].numpy(), mean[:, None].numpy()))
    below = ((exact * 2**BITS - 0.5).ceil() / 2**BITS).float()
    below[:, -1] = 2  # nothing is drawn beyond: the largest uniform number lies well below
    edges = torch.arange(CELLS, dtype=torch.float32).div_(CELLS).expand(LEVELS + 1, -1).contiguous()
    return below, torch.searchsorted(below, edges, right=True).short()

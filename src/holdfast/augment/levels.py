"""Operations on the 256 levels of 8-bit pictures, each as a table of what becomes of every level.

`levels` (L, C, H, W) int64 in [0, 255]; tables (L, C, 256), or (L, 1, 256) where channels share one, int64 as well.
"""

import torch
from torch import Tensor

from holdfast.lanes import column

COUNT = 256


def quantised(x: Tensor) -> Tensor:
    """The levels nearest to values in [0, 1], int64."""
    return (x * (COUNT - 1)).round().long()


def looked_up(levels: Tensor, table: Tensor) -> Tensor:
    """What the table makes of each level, in the shape of `levels`."""
    return table.expand(-1, levels.shape[1], -1).gather(2, levels.flatten(2)).view(levels.shape)


def posterize(bits: Tensor, like: Tensor) -> Tensor:
    """Keep the first `bits` (L,) int64, 0 to 8, of each level."""
    return _every(like) & column(COUNT - (1 << (8 - bits)), _every(like)).expand(-1, 1, 1)


def solarize(threshold: Tensor, like: Tensor) -> Tensor:
    """Invert the levels from `threshold` (L,) int64 up."""
    every = _every(like)
    return torch.where(every < threshold[:, None, None], every, COUNT - 1 - every)


def autocontrast(levels: Tensor) -> Tensor:
    """Stretch the levels of each channel from its darkest and lightest to 0 and 255, cut to whole numbers.

    A channel of one level is left as it is.
    """
    least, largest = levels.amin((2, 3))[:, :, None], levels.amax((2, 3))[:, :, None]
    every = _every(levels)
    # In float64 and in these steps, as Pillow computes it: others would cut to other whole numbers. A number divided by
    # a tensor would be its reciprocal times the number.
    span = (largest - least).clamp_min(1).double()
    scale = torch.full_like(span, COUNT - 1) / span
    stretched = (every * scale + -least * scale).trunc().clamp(0, COUNT - 1).long()
    return torch.where(largest > least, stretched, every)


def equalize(levels: Tensor) -> Tensor:
    """Make the levels of each channel about equally frequent, by Pillow's rounding.

    A channel with few pixels besides those of its lightest level, fewer than 255, is left as it is.
    """
    count = _histogram(levels)
    lightest = count.gather(2, levels.amax((2, 3))[:, :, None])
    step = (levels.shape[2] * levels.shape[3] - lightest) // (COUNT - 1)
    darker = count.cumsum(2) - count
    spread = ((darker + step // 2) // step.clamp_min(1)).clamp_max(COUNT - 1)
    return torch.where(step > 0, spread, _every(levels))


def _every(like: Tensor) -> Tensor:
    return torch.arange(COUNT, device=like.device).view(1, 1, -1)


def _histogram(levels: Tensor) -> Tensor:
    """(L, C, 256) int64: how often each level occurs in each channel."""
    flat = levels.flatten(2)
    return torch.zeros(*flat.shape[:2], COUNT, dtype=torch.int64, device=levels.device).scatter_add_(
        2, flat, torch.ones_like(flat)
    )

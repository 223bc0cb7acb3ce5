"""Square windows of pictures: what lies in each, which one holds most, and the square that a change needs."""

import torch
from torch import Tensor


def planes(x: Tensor) -> Tensor:
    """Pictures (N, ...) as (N, C, H, W): inputs (N, d) are one row, (N, C, W) one row a channel."""
    if x.ndim < 4:
        return x.reshape(len(x), -1 if x.ndim == 3 else 1, 1, x.shape[-1])
    return x.reshape(len(x), x.shape[1], -1, x.shape[-1])


def sums(values: Tensor, side: Tensor) -> Tensor:
    """(N, H, W) float64: the sum of `values` (N, H, W) over the square of `side` (N,) with that upper left corner.

    What would lie outside the picture counts nothing. Cost: four look-ups a place in sums over all corners.
    """
    count, height, width = values.shape
    whole = values.new_zeros((count, height + 1, width + 1), dtype=torch.float64)
    torch.cumsum(torch.cumsum(values.double(), 1), 2, out=whole[:, 1:, 1:])
    ends = [
        (torch.arange(room, device=values.device) + side[:, None]).clamp_max(room) for room in (height, width)
    ]  # (N, H), (N, W)
    strips = whole.gather(1, ends[0][:, :, None].expand(-1, -1, width + 1)) - whole[:, :height]
    return strips.gather(2, ends[1][:, None, :].expand(-1, height, -1)) - strips[:, :, :width]


def best(values: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2) int64 corner of the square of `side` (N,) with the largest sum, the first of equal ones; and the sum."""
    most, place = sums(values, side).flatten(1).max(1)
    width = values.shape[2]
    return torch.stack([place // width, place % width], 1), most


def square(corner: Tensor, side: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, H, W) bool: the squares of `side` (N,) at `corner` (N, 2), moved back into the picture where they stick
    out, and cut to it where they are larger."""
    inside = []
    for axis, room in enumerate((height, width)):
        start = torch.minimum(corner[:, axis], room - side).clamp_min(0)[:, None]
        place = torch.arange(room, device=corner.device)
        inside.append((place >= start) & (place < start + side[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def extent(changed: Tensor, corner: Tensor | None = None) -> Tensor:
    """(N,) int64: the side of the smallest square that covers what is True in (N, H, W); 0 for nothing.

    With `corner` (N or 1, 2): of those that `square` makes of it, which grow with their side.
    """
    sides = []
    for axis in (1, 2):
        line = changed.any(3 - axis).to(torch.int8)  # (N, H or W)
        room = line.shape[1]
        first, last = line.argmax(1), room - 1 - line.flip(1).argmax(1)
        if corner is None:
            sides.append(last - first + 1)
        else:
            start = corner[:, axis - 1]
            sides.append(torch.where(first >= start, last - start + 1, room - first))
    return torch.maximum(*sides) * changed.flatten(1).any(1)

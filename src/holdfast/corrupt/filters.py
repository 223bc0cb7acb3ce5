"""Filters over pictures (N, C, H, W), made of single multiplications and additions.

A convolution of the framework may add up in another order when the batch is another. Here each product and each sum is
rounded by itself and in a fixed order, so that a picture's bits are the same in any batch.
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

ROWS, COLUMNS = 2, 3  # axes


def half_gaussian(deviation: float, truncate: float = 4.0) -> tuple[float, ...]:
    """The middle and the right half of a Gaussian kernel cut at `truncate` deviations, whose sum over both sides is 1.

    It reaches int(truncate * deviation + 0.5) pixels, as `scipy.ndimage.gaussian_filter` does.
    """
    reach = int(truncate * deviation + 0.5)
    weights = [math.exp(-0.5 * (place / deviation) ** 2) if place else 1.0 for place in range(reach + 1)]
    total = weights[0] + 2 * math.fsum(weights[1:])
    return tuple(weight / total for weight in weights)


def gaussian(x: Tensor, deviation: float) -> Tensor:
    """Blurred by a Gaussian cut at 4 deviations; beyond its edge the picture repeats its outermost pixels."""
    half = half_gaussian(deviation)
    return along(along(x, half, ROWS), half, COLUMNS)


def along(x: Tensor, half: Sequence[float], axis: int) -> Tensor:
    """Filtered along one axis by a symmetric kernel, of which `half` is the middle and the right."""
    reach, length = len(half) - 1, x.shape[axis]
    if not reach:
        return x * half[0]
    sides = (0, 0, reach, reach) if axis == ROWS else (reach, reach, 0, 0)
    padded = functional.pad(x, sides, mode="replicate")
    total = padded.narrow(axis, reach, length) * half[0]
    for step in range(1, reach + 1):
        pair = padded.narrow(axis, reach - step, length) + padded.narrow(axis, reach + step, length)
        total += pair.mul_(half[step])
    return total


def quadrant(x: Tensor, kernel: Sequence[Sequence[float]]) -> Tensor:
    """Filtered by a kernel that is the same upside down and mirrored; `kernel[down][right]` is its lower right quarter.

    Beyond its edge the picture is mirrored at the centres of its outermost pixels.
    """
    height, width = x.shape[2:]
    down, right = len(kernel) - 1, len(kernel[0]) - 1
    padded = mirrored(x, down, right)
    total = torch.zeros_like(x)
    for across in range(right + 1):
        near = padded.narrow(COLUMNS, right + across, width)
        columns = near + padded.narrow(COLUMNS, right - across, width) if across else near
        for up in range(down + 1):
            weight = kernel[up][across]
            if weight:
                middle = columns.narrow(ROWS, down + up, height)
                total += (middle + columns.narrow(ROWS, down - up, height) if up else middle) * weight
    return total


def mirrored(x: Tensor, rows: int, columns: int) -> Tensor:
    """With so many rows and columns more on each side, mirrored at the centres of the outermost pixels."""
    for axis, more in ((ROWS, rows), (COLUMNS, columns)):
        if more:
            places = torch.arange(-more, x.shape[axis] + more, device=x.device)
            x = x.index_select(axis, about_centres(places, x.shape[axis]))
    return x


def about_centres(place: Tensor, room: int) -> Tensor:
    """Places brought into [0, room - 1] by mirroring at the centres of the first and last pixel: ... 2 1 0 1 2 ..."""
    period = max(2 * (room - 1), 1)
    once = place.abs() % period
    return torch.minimum(once, period - once) if room > 1 else torch.zeros_like(place)


def about_edges(place: Tensor, room: int) -> Tensor:
    """Whole places brought into [0, room - 1] by mirroring at the outer edges of both: ... 1 0 0 1 ..."""
    once = place % (2 * room)  # never negative
    return torch.minimum(once, 2 * room - 1 - once)


def zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of a picture enlarged `factor` >= 1 times, at the picture's own size, interpolated linearly.

    The middle is the ceiling of side / factor; its outermost pixels come to lie on those of its enlargement.
    """
    for axis in (ROWS, COLUMNS):
        low, share = _zoom_map(x.shape[axis], factor)
        shape = (-1, 1) if axis == ROWS else (-1,)
        first = torch.tensor(low, device=x.device)
        weight = torch.tensor(share, dtype=x.dtype, device=x.device).view(shape)
        last = (first + 1).clamp_(max=x.shape[axis] - 1)
        begin = x.index_select(axis, first)
        x = begin + (x.index_select(axis, last) - begin) * weight
    return x


@cache
def _zoom_map(side: int, factor: float) -> tuple[list[int], list[float]]:
    """For each pixel of a side the pixel before the place it comes from, and how far beyond that this is."""
    middle = math.ceil(side / factor)
    begin, large = (side - middle) // 2, round(middle * factor)
    trim = (large - side) // 2
    step = (middle - 1) / (large - 1) if large > 1 else 0.0
    places = [min(step * pixel, middle - 1) for pixel in range(trim, trim + side)]
    before = [min(int(place), max(middle - 2, 0)) for place in places]
    return [begin + pixel for pixel in before], [place - pixel for place, pixel in zip(places, before)]

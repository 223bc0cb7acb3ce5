"""Pictures and masks looked up at other places: the motion that turning, scaling and shearing share.

A map (N, 2, 3) float64 takes a pixel of the new picture to where its value comes from: the row below [0] gives the
column, that below [1] the row, each from column, row and 1, in pixels from the centre of the picture.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from holdfast.lanes import column

Border = Literal["zeros", "reflect"]
"""What lies outside a picture: zeros, or the picture again, mirrored at the centres of its outermost pixels."""


def turn(radians: Tensor) -> Tensor:
    """Maps (N, 2, 3) that turn pictures about their centre by angles (N,), positive against the clock."""
    cosine, sine, none = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Rows count downwards, so that against the clock a pixel to the right comes up.
    return torch.stack([cosine, -sine, none, sine, cosine, none], 1).view(-1, 2, 3)


def zoom(factor: Tensor) -> Tensor:
    """Maps (N, 2, 3) that make pictures `factor` (N,) times as large about their centre."""
    size, none = 1 / factor, torch.zeros_like(factor)
    return torch.stack([size, none, none, none, size, none], 1).view(-1, 2, 3)


def reflected(place: Tensor, room: int) -> Tensor:
    """Places in pixels, of any dtype, brought into [0, room - 1] by mirroring at both ends as often as needed."""
    period = max(2 * (room - 1), 1)
    once = place.abs() % period
    return torch.minimum(once, period - once) if room > 1 else torch.zeros_like(place)


def warped(x: Tensor, maps: Tensor, border: Border) -> Tensor:
    """Pictures (N, C, H, W) through maps (N, 2, 3); between pixels values are interpolated linearly both ways."""
    height, width = x.shape[2:]
    rows, columns = _sources(maps, height, width, border)
    # From pixels to the units of `grid_sample`, in which a picture reaches from -1 to 1, edge to edge.
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], 3).to(x)
    return torch.nn.functional.grid_sample(x, grid, padding_mode="zeros", align_corners=False).clamp_(0, 1)


def moved(mask: Tensor, maps: Tensor, border: Border, fill: float) -> Tensor:
    """Masks (N, ..., H, W) through maps (N, 2, 3): the value of the nearest pixel, outside of them `fill`."""
    height, width = mask.shape[-2:]
    rows, columns = ((place + 0.5).floor().long() for place in _sources(maps, height, width, border))
    outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    pixel = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).flatten(1)
    planes = mask.reshape(len(mask), math.prod(mask.shape[1:-2]), height * width)
    found = planes.gather(2, pixel[:, None].expand_as(planes))
    return found.masked_fill(outside.flatten(1)[:, None], fill).reshape(mask.shape)


def _sources(maps: Tensor, height: int, width: int, border: Border) -> tuple[Tensor, Tensor]:
    """Row and column, each (N, H, W) float64 in pixels from the first one's centre, that every pixel comes from."""
    down = torch.arange(height, device=maps.device, dtype=maps.dtype)[:, None] - (height - 1) / 2
    right = torch.arange(width, device=maps.device, dtype=maps.dtype) - (width - 1) / 2
    by_column, by_row, shift = maps.unbind(2)  # each (N, 2)
    columns, rows = (
        column(by_column[:, i], maps) * right
        + (column(by_row[:, i], maps) * down + column(shift[:, i], maps) + (room - 1) / 2)
        for i, room in enumerate((width, height))
    )
    if border == "reflect":
        return reflected(rows, height), reflected(columns, width)
    return rows, columns

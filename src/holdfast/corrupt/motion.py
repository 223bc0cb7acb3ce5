"""Blur along a line, from one side, under an angle that each picture has of its own."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def smeared(x: Tensor, radius: int, deviation: float, degrees: Tensor) -> Tensor:
    """Each pixel the mean of 2 * radius + 1 pixels in a row that begins at it, weighted by half a Gaussian.

    The row runs under `degrees` (N,) float64, 0 to the right and 90 downwards; its places are rounded to pixels, and
    beyond its edge the picture repeats its outermost ones.
    Source: MotionBlurImage of ImageMagick, as the published code calls it.
    """
    reach = 2 * radius
    weights = [math.exp(-0.5 * (step / deviation) ** 2) for step in range(reach + 1)]
    total = math.fsum(weights)
    order = degrees.argsort()  # pictures of like angles are moved together
    inverse = order.argsort()
    padded = functional.pad(x.index_select(0, order), (reach,) * 4, mode="replicate")
    turned = degrees[order] * (math.pi / 180)
    blurred = torch.zeros_like(x)
    for step, weight in enumerate(weights):
        _add_moved(blurred, padded, _offsets(turned, step), reach, weight / total)
    return blurred.index_select(0, inverse)


def _offsets(radians: Tensor, step: int) -> Tensor:
    """(N, 2) int64: how far down and to the right the pixel lies that is so many steps along the row."""
    places = torch.stack([radians.sin(), radians.cos()], 1) * step
    return (places - 0.5).ceil().long()


def _add_moved(total: Tensor, padded: Tensor, offsets: Tensor, reach: int, weight: float) -> None:
    """Add to each picture itself moved, once for every run of neighbours that move alike."""
    height, width = total.shape[2:]
    alike, counts = offsets.unique_consecutive(dim=0, return_counts=True)
    first = 0
    for (down, right), count in zip(alike.tolist(), counts.tolist()):
        rows, columns = reach + down, reach + right
        some = padded[first : first + count, :, rows : rows + height, columns : columns + width]
        total[first : first + count] += some * weight
        first += count

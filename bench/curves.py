"""What the smallest changes of a set of pictures say of an attack: quantiles, and optimality beside the best known."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def envelope(sizes: Sequence[Tensor]) -> Tensor:
    """(N,) the smallest size of each picture, of several attacks' (N,)."""
    return torch.stack(list(sizes)).amin(0)


def area(sizes: Tensor, edge: float) -> float:
    """The area under the security curve from 0 to `edge`.

    The curve is the share of pictures whose size (N,) is above a radius; its integral is the mean of min(size, edge).
    """
    return float(sizes.clamp(max=edge).mean())


def optimality(sizes: Tensor, best: Tensor) -> float:
    """How much of the way from an attack that finds nothing to the envelope `best` (N,) an attack goes; 1 is all.

    With A the area under the attack's security curve, B that under the envelope's, both up to the radius `edge` at
    which the envelope comes down to the pictures that no attack breaks, and C = edge, the area of an attack that
    breaks nothing: (C - A) / (C - B). Sizes are infinite where an attack fails.
    Source: local optimality of Cinà et al. 2024 (AttackBench), arXiv:2404.19460. There the pictures that are wrong from
    the start are part of the curve, which changes nothing, as they add to none of the three areas; and areas are taken
    under straight lines between the curve's corners, here under the curve itself.
    """
    broken = best[best.isfinite()]
    if not len(broken):
        return math.nan
    edge = float(broken.max())
    # Pictures that nobody breaks add the edge to all three areas.
    a, b = area(sizes, edge), area(best, edge)
    if b >= edge:
        return float(a <= b)
    return (edge - a) / (edge - b)


def quantile(sizes: Tensor, share: float) -> float:
    """The smallest size within which at least that share of the pictures is broken; infinite if there is none."""
    place = max(1, math.ceil(share * len(sizes) - 1e-9))
    return float(sizes.sort().values[place - 1])

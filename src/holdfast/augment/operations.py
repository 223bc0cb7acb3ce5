"""The base operations that AugMix chains: nine, none of which is among the common corruptions a model is tested on."""

import math

import torch
from torch import Tensor

from holdfast.augment import levels, warp

__all__ = ["OPERATIONS", "amounts", "operate"]

OPERATIONS = (
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "rotate",
    "shear-x",
    "shear-y",
    "translate-x",
    "translate-y",
)
AUTOCONTRAST, EQUALIZE, POSTERIZE, SOLARIZE, ROTATE, SHEAR_X, SHEAR_Y, TRANSLATE_X, TRANSLATE_Y = range(9)
STRONGEST = 10  # the level at which an operation does the most it ever does


def amounts(kind: Tensor, level: Tensor, positive: Tensor, height: int, width: int) -> Tensor:
    """How much each operation does: (L,) float64, from its number `kind` (L,) and its `level` (L,) in [0, 10].

    Posterize: bits kept, 4 less up to 4. Solarize: the level from which values are inverted, 256 less up to 256.
    Rotate: up to 30 whole degrees; shear: up to 0.3 pixels a pixel; translate: up to a third of the side in whole
    pixels; these three to the side that `positive` (L,) bool says. The two others have no amount: 0.
    Source: Hendrycks et al. 2020, arXiv:1912.02781, by the scales of the published code.
    """
    share, sign = level.double() / STRONGEST, positive.double() * 2 - 1
    found = torch.zeros_like(share)
    whole = {POSTERIZE: 4, SOLARIZE: 256, ROTATE: 30, TRANSLATE_X: width / 3, TRANSLATE_Y: height / 3}
    for number, most in whole.items():
        found = torch.where(kind == number, (share * most).floor(), found)
    found = torch.where((kind == SHEAR_X) | (kind == SHEAR_Y), share * 0.3, found)
    found = torch.where(kind >= ROTATE, found * sign, found)
    found = torch.where(kind == POSTERIZE, 4 - found, found)
    return torch.where(kind == SOLARIZE, 256 - found, found)


def operate(x: Tensor, rows: Tensor, kind: Tensor, amount: Tensor) -> Tensor:
    """Pictures (L, C, H, W) with one operation done, in place, to each row that `rows` (L,) bool says.

    `kind` (L,) int64 numbers the operations, `amount` (L,) float64 is theirs. Rows of one kind go together: the
    geometric ones through one warp, with zeros from outside, the others through tables of 8-bit levels, for which
    values are rounded to the nearest of 256.
    """
    geometric = (rows & (kind >= ROTATE)).nonzero().squeeze(1)
    moved = warp.warped(x[geometric], _maps(kind[geometric], amount[geometric], *x.shape[2:]), "zeros")
    pointwise = (rows & (kind < ROTATE)).nonzero().squeeze(1)
    seen = levels.quantised(x[pointwise])
    table = _tables(seen, kind[pointwise], amount[pointwise].long())
    toned = levels.looked_up(seen, table).to(x.dtype) / (levels.COUNT - 1)
    return x.index_copy_(0, geometric, moved).index_copy_(0, pointwise, toned)


def _maps(kind: Tensor, amount: Tensor, height: int, width: int) -> Tensor:
    """Maps (L, 2, 3) of the geometric operations, which differ in the one entry that is not 0."""

    def part(number: int) -> Tensor:
        return torch.where(kind == number, amount, 0.0)

    maps = warp.turn(part(ROTATE) * (math.pi / 180))
    shear_x, shear_y = part(SHEAR_X), part(SHEAR_Y)
    maps[:, 0, 1] += shear_x
    maps[:, 1, 0] += shear_y
    # A sheared picture keeps its upper or its left edge in place, as published.
    maps[:, 0, 2] += part(TRANSLATE_X) + shear_x * height / 2
    maps[:, 1, 2] += part(TRANSLATE_Y) + shear_y * width / 2
    return maps


def _tables(seen: Tensor, kind: Tensor, amount: Tensor) -> Tensor:
    """Tables (L, C, 256) of the other operations."""
    table = torch.empty(*seen.shape[:2], levels.COUNT, dtype=torch.int64, device=seen.device)
    for number in range(ROTATE):
        rows = (kind == number).nonzero().squeeze(1)
        if number == POSTERIZE:
            made = levels.posterize(amount[rows], seen)
        elif number == SOLARIZE:
            made = levels.solarize(amount[rows], seen)
        else:
            made = (levels.equalize if number == EQUALIZE else levels.autocontrast)(seen[rows])
        table[rows] = made.expand(-1, seen.shape[1], -1)
    return table

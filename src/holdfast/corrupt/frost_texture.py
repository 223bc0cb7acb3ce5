"""Pictures of frost that are grown, not photographed.

Ice grows from a few seeds: each sends out six arms under angles of 60 degrees, slightly bent, arms send out branches
under 60 degrees to both sides, shorter towards the tip, and branches twigs. Light adds up where they cross, over a dim
and cloudy pane. A texture closes on itself on all sides, so that any part of it, of any size, can be taken.
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.corrupt.fields import LEVELS, grey
from holdfast.corrupt.filters import half_gaussian
from holdfast.draws import Draws

TEXTURES = 5
SIDE = 640  # pixels; reduced by 5, still four small pictures wide
SEEDS = 26
SPACING = 9.0  # pixels between two branches of an arm
PANE, ICE = (58, 74, 104), (238, 246, 255)  # colours, as 8-bit levels
GLOW = (0.5, 0.34, 0.22)  # light of arms, branches and twigs


class Needles(NamedTuple):
    """Some crystals in a row: float64 (M,) each, in pixels and radians."""

    row: Tensor
    column: Tensor
    angle: Tensor
    bend: Tensor  # radians a pixel
    length: Tensor


@cache
def textures(reduced: int, *, coloured: bool) -> Tensor:
    """(5, 3, S, S), or (5, 1, S, S) without colours, float32 in [0, 1]; S is 640 over `reduced`. On the CPU.

    Whole 8-bit levels, as those of a file. Cost: made at the first call, in a second or two.
    """
    ice = _large().double()
    small = torch.nn.functional.avg_pool2d(ice, reduced)
    return ((small if coloured else grey(small)).round() / LEVELS).float()


@cache
def _large() -> Tensor:
    """(5, 3, SIDE, SIDE) uint8."""
    return torch.stack([(_texture(number) * LEVELS).round().to(torch.uint8) for number in range(TEXTURES)])


def _texture(number: int) -> Tensor:
    """(3, SIDE, SIDE) float64 in [0, 1]."""
    light = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    needles = _arms(number)
    for order, glow in enumerate(GLOW):
        light += glow * _drawn(needles)
        if order + 1 < len(GLOW):
            needles = _branches(needles, number, order)
    shine = 1 - torch.exp(-1.6 * _soft(light, 0.8) - 0.9 * _soft(light, 6.0)) * (1 - 0.35 * _clouds(number))
    pane, ice = (torch.tensor(colour, dtype=torch.float64).view(3, 1, 1) / LEVELS for colour in (PANE, ICE))
    return pane + (ice - pane) * shine


def _arms(number: int) -> Needles:
    drawn = _drawn_for(number, SEEDS, 4, 1)
    row, column, turn, size = drawn.repeat_interleave(6, 0).unbind(1)
    each = _drawn_for(number, 6 * SEEDS, 2, 2)
    angle = 2 * math.pi * turn + torch.arange(6).repeat(SEEDS) * (math.pi / 3) + 0.2 * (each[:, 0] - 0.5)
    length = (60 + 160 * size) * (0.5 + 0.5 * each[:, 1])
    return Needles(SIDE * row, SIDE * column, angle, 0.006 * (each[:, 0] - 0.5), length)


def _branches(parents: Needles, number: int, order: int) -> Needles:
    """Branches to both sides of every parent, at even distances, the longer the more of the parent is left."""
    count = (parents.length / SPACING).long()
    of = torch.arange(len(count)).repeat_interleave(count)
    place = torch.arange(len(of)) - (count.cumsum(0) - count)[of]
    drawn = _drawn_for(number, len(of), 2, 3 + order)
    along = (place + drawn[:, 0]) * SPACING
    row, column, angle = _at(parents, of, along)
    length = (parents.length[of] - along).clamp_(min=2) * (0.25 + 0.35 * drawn[:, 1])
    sides = [angle + side * math.pi / 3 for side in (-1, 1)]
    bend = parents.bend[of]
    return Needles(row.repeat(2), column.repeat(2), torch.cat(sides), bend.repeat(2), length.repeat(2))


def _at(needles: Needles, of: Tensor, along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and direction at some way along needles: a bend small enough to be a parabola."""
    angle, bend = needles.angle[of], needles.bend[of]
    aside = bend * along**2 / 2
    row = needles.row[of] + along * angle.sin() + aside * angle.cos()
    column = needles.column[of] + along * angle.cos() - aside * angle.sin()
    return row, column, angle + bend * along


def _drawn(needles: Needles) -> Tensor:
    """How many needles pass through each pixel, fading towards their tips; each point shared by four pixels."""
    count = (2 * needles.length).long() + 1
    of = torch.arange(len(count)).repeat_interleave(count)
    along = (torch.arange(len(of)) - (count.cumsum(0) - count)[of]) / 2
    row, column, _ = _at(needles, of, along.double())
    glow = 0.5 * (1 - 0.7 * along / needles.length[of].clamp(min=1))
    total = torch.zeros(SIDE * SIDE, dtype=torch.float64)
    above, before = row.floor(), column.floor()
    lower, later = row - above, column - before
    for down, share in ((0, 1 - lower), (1, lower)):
        for right, part in ((0, 1 - later), (1, later)):
            place = ((above.long() + down) % SIDE) * SIDE + (before.long() + right) % SIDE
            total.index_add_(0, place, glow * share * part)
    return total.view(SIDE, SIDE)


def _soft(light: Tensor, deviation: float) -> Tensor:
    """Blurred, around the edges too."""
    half = half_gaussian(deviation)
    for axis in (0, 1):
        light = half[0] * light + sum(
            weight * (light.roll(step, axis) + light.roll(-step, axis)) for step, weight in enumerate(half[1:], 1)
        )
    return light


def _clouds(number: int) -> Tensor:
    """(SIDE, SIDE) in [0, 1]: waves of a few whole periods, more and weaker ones the shorter they are."""
    place = torch.arange(SIDE, dtype=torch.float64) * (2 * math.pi / SIDE)
    total = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for down, right, phase in (_drawn_for(number, 24, 3, 9) * 2 - 1).tolist():
        rows, columns = round(7 * down), round(7 * right)
        wave = (rows * place[:, None] + columns * place + math.pi * phase).cos()
        total += wave / (1 + rows**2 + columns**2) ** 0.5
    return (total - total.min()) / (total.max() - total.min())


def _drawn_for(number: int, rows: int, columns: int, stream: int) -> Tensor:
    """(rows, columns) float64, uniform in [0, 1)."""
    draws = Draws(seed=number, picture=torch.arange(rows))
    return draws.uniform(torch.empty(rows, columns, dtype=torch.float64), stream)

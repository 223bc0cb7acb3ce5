"""How drops of water catch the light: their outlines, how far from those a pixel lies, and that as a relief.

Levels are 8-bit, as floats (N, 1, H, W); what is computed of them are whole numbers, or is rounded to some, so that it
is the same in any batch.
"""

import torch
from torch import Tensor
from torch.nn import functional

from holdfast.corrupt.fields import LEVELS
from holdfast.corrupt.filters import mirrored

LOW, HIGH = 50, 150  # gradients between which an edge goes on, and from which one begins
FARTHEST = 20  # pixels: distances are told up to this
UNIT = 1 << 16  # distances are counted in these parts of a pixel
STRAIGHT, DIAGONAL, KNIGHT = (int(length * UNIT + 0.5) for length in (1.0, 1.4, 2.1969))
TAN_22 = int(0.4142135623730950488 * 2**15 + 0.5)  # tangent of 22.5 degrees, in parts of 2^15
SHADE = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))  # light from the lower right


def relief(levels: Tensor) -> Tensor:
    """What thickness is multiplied by, 0 to 255: distances from outlines, spread evenly, lit from one side, softened.

    Source: the steps of spatter in the published code (Hendrycks & Dietterich 2019, arXiv:1903.12261), which calls them
    from OpenCV: Canny, a chamfer distance of 5x5, cut at 20, means of 3x3, equalised, filtered, means of 3x3.
    """
    apart = distance(outlines(levels))
    soft = (_sum_3x3(apart.double()) / 9 / UNIT).float().floor()
    lit = torch.zeros_like(soft)
    evened = mirrored(equalised(soft), 1, 1)
    height, width = levels.shape[2:]
    for down, row in enumerate(SHADE):
        for right, weight in enumerate(row):
            lit += evened[:, :, down : down + height, right : right + width] * weight
    return (_sum_3x3(lit.clamp_(0, LEVELS)) / 9).round_()


def _sum_3x3(x: Tensor) -> Tensor:
    """The sum over each pixel and its eight neighbours, mirrored at the centres of the outermost pixels."""
    padded = mirrored(x, 1, 1)
    rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def outlines(levels: Tensor) -> Tensor:
    """(N, 1, H, W) bool: Canny's edges by 3x3 derivatives, whose size is the sum of both.

    Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851, as OpenCV computes it.
    """
    padded = functional.pad(levels, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 2:] - padded[..., :-2]
    across = across[:, :, :-2] + 2 * across[:, :, 1:-1] + across[:, :, 2:]
    down = padded[:, :, 2:] - padded[:, :, :-2]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    size = across.abs() + down.abs()
    ridge = _is_ridge(size, across, down) & (size > LOW)
    edges = ridge & (size > HIGH)
    while True:  # edges go on along ridges
        near = functional.max_pool2d(edges.float(), 3, 1, 1) > 0
        grown = near & ridge
        if bool((grown == edges).all()):
            return edges
        edges = grown


def _is_ridge(size: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Whether a gradient is larger than those on both sides of it, along its own direction rounded to 45 degrees."""
    around = functional.pad(size, (1, 1, 1, 1))
    height, width = size.shape[2:]

    def at(rows: int, columns: int) -> Tensor:
        return around[:, :, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    # Below 2^31, so exact as float64.
    steep, flat = down.abs().double() * 2**15, across.abs().double() * TAN_22
    level = (size > at(0, -1)) & (size >= at(0, 1))
    upright = (size > at(-1, 0)) & (size >= at(1, 0))
    falling = (size > at(-1, -1)) & (size > at(1, 1))
    rising = (size > at(-1, 1)) & (size > at(1, -1))
    slanted = torch.where((across < 0) != (down < 0), rising, falling)
    far = flat + across.abs().double() * 2**16
    return torch.where(steep < flat, level, torch.where(steep > far, upright, slanted))


def distance(edges: Tensor) -> Tensor:
    """(N, 1, H, W) int64: how long the shortest way to an edge is in steps of 5x5, in parts of a pixel, cut at 20.

    Steps to the next pixel cost 1, to one at a corner 1.4, a knight's move 2.1969. Two passes, row by row, downwards
    and back up; all columns and pictures at once, as the cheapest way along a row is a running minimum.
    Source: Borgefors 1986, doi:10.1016/S0734-189X(86)80047-0, with OpenCV's costs.
    """
    found = torch.where(edges[:, 0], 0, FARTHEST * UNIT)
    for _ in range(2):
        rows: list[Tensor] = []
        for row in found.unbind(1):
            rows.append(_along_row(_from_above(row, rows[-2:])))
        found = torch.stack(rows, 1).flip(1, 2)
    return found[:, None]


def _from_above(row: Tensor, above: list[Tensor]) -> Tensor:
    """A row (N, W), or the way over one of the two rows above it where that is shorter; the nearer one comes last."""
    steps = [(-1, ((0, STRAIGHT), (1, DIAGONAL), (2, KNIGHT))), (-2, ((1, KNIGHT),))]
    for place, ways in steps:
        if len(above) < -place:
            continue
        far = functional.pad(above[place], (2, 2), value=FARTHEST * UNIT)
        for aside, cost in ways:
            for side in {-aside, aside}:
                row = torch.minimum(row, far[:, 2 + side : 2 + side + row.shape[1]] + cost)
    return row


def _along_row(row: Tensor) -> Tensor:
    """A row (N, W), or the way along it from the left where that is shorter."""
    fare = torch.arange(row.shape[1], device=row.device) * STRAIGHT
    return (row - fare).cummin(1).values + fare


def equalised(levels: Tensor) -> Tensor:
    """Levels 0 to 255 as about equally frequent ones: each by the share of pixels that are darker or as dark.

    The darkest level becomes 0; a picture of one level is left as it is. As OpenCV rounds.
    """
    flat = levels.flatten(1).long()
    count = torch.zeros(len(flat), LEVELS + 1, dtype=torch.int64, device=levels.device)
    count.scatter_add_(1, flat, torch.ones_like(flat))
    least = count.gather(1, flat.amin(1, keepdim=True))
    rest = (flat.shape[1] - least).float()
    table = ((count.cumsum(1) - least).float() * (LEVELS / rest.clamp_min(1))).round_().clamp_(0, LEVELS)
    return torch.where(rest[:, :, None, None] == 0, levels, table.gather(1, flat).view_as(levels).to(levels))

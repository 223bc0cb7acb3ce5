"""Stretched and wrung, as if printed on rubber."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import uniform
from holdfast.corrupt.filters import about_centres, about_edges, half_gaussian
from holdfast.draws import Draws
from holdfast.lanes import column

PUBLISHED = 244 / 224  # the published code says 244 where it means the side of 224
FINE = 2.0**24  # fields and weights are rounded to whole multiples of 1 / FINE and 1 / (4 FINE)
FLAT = 1e-3  # least area that a triangle may be left with, as a share of the picture's


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """Move three points, and the picture with them by the affine map they fix; then displace every pixel a little.

    Each point is moved both ways by a number uniform in [-a, a]; the picture is mirrored at the centres of its
    outermost pixels. Each pixel then takes the value at a place displaced by a field, uniform noise in [-1, 1] blurred
    by a Gaussian cut at 3 deviations, times a factor; here the picture is mirrored at its edges. Both times values
    between pixels are interpolated linearly.
    Strength: factor, deviation and a, in shares of the shorter side.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code, which looks places of the affine map
    up to a 32nd of a pixel, here exact.
    """

    name: ClassVar[str] = "elastic"
    levels: ClassVar[Levels[tuple[float, float, float]]] = Levels(
        imagenet=(
            (2 * PUBLISHED, 0.7 * PUBLISHED, 0.1 * PUBLISHED),
            (2 * PUBLISHED, 0.08 * PUBLISHED, 0.2 * PUBLISHED),
            (0.05 * PUBLISHED, 0.01 * PUBLISHED, 0.02 * PUBLISHED),
            (0.07 * PUBLISHED, 0.01 * PUBLISHED, 0.02 * PUBLISHED),
            (0.12 * PUBLISHED, 0.01 * PUBLISHED, 0.02 * PUBLISHED),
        ),
        small=((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    )

    def apply(self, x: Tensor, strength: tuple[float, float, float], draws: Draws) -> Tensor:
        """The deformed pictures."""
        height, width = x.shape[2:]
        factor, deviation, most = (share * min(height, width) for share in strength)
        moves = (uniform(draws, 3, 2).double() * 2 - 1) * most
        x = sampled(x, *affine_places(moves, height, width), about_centres)
        if factor:
            field = displacements(uniform(draws, 2, height, width, stream=1), deviation) * factor
            down = torch.arange(height, device=x.device)[:, None]
            right = torch.arange(width, device=x.device)
            x = sampled(x, field[:, 0] + down, field[:, 1] + right, about_edges)
        return x.clamp_(0, 1)


def affine_places(moves: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rows and columns, each (N, H, W) float64, that pixels come from when three points move by `moves` (N, 3, 2).

    The points lie on a square about the middle: its lower right, upper right and upper left corner; moves are to the
    right and down.
    """
    reach = min(height, width) // 3
    middle = moves.new_tensor([width // 2, height // 2])
    old = moves.new_tensor([[reach, reach], [reach, -reach], [-reach, -reach]]) + middle
    new = old + moves
    (a, b), (c, d) = ((new[:, i] - new[:, 2]).unbind(1) for i in (0, 1))
    area = a * d - b * c  # negative while the points keep their order
    least = FLAT * height * width
    area = torch.where(area.abs() < least, area.sign().where(area != 0, -torch.ones_like(area)) * least, area)
    # Any place is so much of the first side of the moved triangle and so much of the second; it comes from just as much
    # of the old ones.
    right = torch.arange(width, device=moves.device) - column(new[:, 2, 0], moves)
    down = torch.arange(height, device=moves.device)[:, None] - column(new[:, 2, 1], moves)
    first = (right * column(d, moves) - down * column(c, moves)) / column(area, moves)
    second = (down * column(a, moves) - right * column(b, moves)) / column(area, moves)
    along, across = old[0] - old[2], old[1] - old[2]
    rows, columns = (first * along[i] + second * across[i] + old[2, i] for i in (1, 0))
    return rows, columns


def displacements(drawn: Tensor, deviation: float) -> Tensor:
    """(N, 2, H, W) float64: noise in [-1, 1) out of uniform numbers in [0, 1), blurred, mirrored at the edges."""
    rows, columns = (_blurring(side, deviation).to(drawn.device) for side in drawn.shape[2:])
    # All products are whole multiples of 2^-50 and add up to at most 1: exact, so the same in whatever order.
    across = (drawn.double() * 2 - 1) @ columns.T
    return rows @ (across * FINE).round_().div_(FINE)


@cache
def _blurring(side: int, deviation: float) -> Tensor:
    """(side, side) float64: how much of each pixel a blurred one has."""
    half = half_gaussian(deviation, truncate=3)
    reach = len(half) - 1
    steps = torch.arange(-reach, reach + 1)
    weights = torch.tensor([*half[:0:-1], *half], dtype=torch.float64).expand(side, -1)
    places = about_edges(torch.arange(side)[:, None] + steps, side)
    whole = torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, places, weights)
    return (whole * 4 * FINE).floor_().div_(4 * FINE)


def sampled(x: Tensor, rows: Tensor, columns: Tensor, fold: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Values at places (N, H, W) float64, in pixels, interpolated linearly; `fold` brings whole places into a side."""
    height, width = x.shape[2:]
    above, before = rows.floor(), columns.floor()
    lower, later = (rows - above).to(x), (columns - before).to(x)
    line = [fold(above.long() + step, height) * width for step in (0, 1)]
    pixel = [fold(before.long() + step, width) for step in (0, 1)]
    flat, total = x.flatten(2), torch.zeros_like(x)
    for down, share in ((0, 1 - lower), (1, lower)):
        for right, part in ((0, 1 - later), (1, later)):
            place = (line[down] + pixel[right]).flatten(1)[:, None].expand(-1, x.shape[1], -1)
            total += flat.gather(2, place).view_as(x) * (share * part)[:, None]
    return total

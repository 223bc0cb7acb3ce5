"""The windows of Square in L2 and L1: bumps, and moving what one window holds into another."""

from functools import lru_cache, partial

import torch
from torch import Tensor

from holdfast.attacks.case import Case

TILES = 5  # tiles along the shorter side of the first picture
SMALLEST = 3  # side of a window
TINY = 1e-12  # against dividing by nothing
# A bump is a pile of rectangles; the k-th, from the smallest, weighs 1 / k^power.
POWER = {"l2": 2, "l1": 4}


def first(case: Case, x: Tensor) -> Tensor:
    """(L, C, H, W): the pictures with a bump on each tile, at the full radius."""
    lanes, channels, height, width = x.shape
    side = max(min(height, width) // TILES, 1)
    down, across = min(height // side, TILES), width // side
    tiles = x.new_empty(lanes, channels, down, across)
    up = bump(side, case.threat.name).to(x)
    turned = (case.draws.uniform(tiles[:, :1], stream=1) < 0.5)[..., None, None]
    each = torch.where(turned, up.T, up) * signs(case.draws.uniform(tiles))[..., None, None]
    top, left = (height - down * side) // 2, (width - across * side) // 2
    delta = torch.zeros_like(x)
    delta[:, :, top : top + down * side, left : left + across * side] = each.transpose(3, 4).reshape(
        lanes, channels, down * side, across * side
    )
    return spend(case, x, delta)


def change(case: Case, best: Tensor, x: Tensor, share: Tensor) -> Tensor:
    """(L, C, H, W): `best` with one window's change moved into another, which covers `share` (L,) of the picture."""
    height, width = x.shape[2:]
    side = odd((share * height * width).sqrt().round()).clamp_max(min(height, width))
    numbers = case.draws.uniform(x.new_empty(len(x), 5 + x.shape[1]))
    delta = best - x
    left_over = size(case, delta, (-3, -2, -1))
    for length in sorted(set(side.tolist())):  # lanes that began together have windows of one size
        lanes = (side == length).nonzero().squeeze(1)
        delta[lanes] = moved(case, delta[lanes], left_over[lanes], numbers[lanes], int(length), radius(case, x, lanes))
    return spend(case, x, delta)


def moved(case: Case, delta: Tensor, whole: Tensor, numbers: Tensor, side: int, eps: float | Tensor) -> Tensor:
    """`delta` (L, C, H, W), of size `whole`, with the change of two windows brought together in the first.

    What both held, and what of the radius is left, goes into the first window in the shape of what it held plus a
    fresh bump; the second is emptied. `numbers` (L, 5 + C) are uniform and choose places, direction and signs.
    """
    measure = partial(size, case, axes=(-2, -1))
    height, width = delta.shape[2:]
    room = torch.tensor([height, width, height, width], device=delta.device) - side + 1
    place = (numbers[:, :4] * room).long()
    here, there = (pixels(place[:, i], place[:, i + 1], side, delta.shape[1]) for i in (0, 2))
    held = delta[here]
    delta[here] = 0.0
    rest = measure(delta[there])  # where the windows overlap it was counted with the first
    delta[there] = 0.0
    up = bump(side, case.threat.name).to(delta)
    turned = (numbers[:, 4] < 0.5)[:, None, None]
    fresh = torch.where(turned, up.T, up)[:, None] * signs(numbers[:, 5:])[:, :, None, None]
    fresh = fresh + held / (measure(held) + TINY)
    channels = delta.shape[1]
    if case.threat.name == "l2":
        amount = ((eps**2 - whole**2).clamp_min(0) / channels + measure(held) ** 2 + rest**2).sqrt()
    else:  # times the channels, as in the published attack: the projection takes back what is too much
        amount = ((eps - whole).clamp_min(0) / channels + measure(held) + rest) * channels
    delta[here] = fresh / (measure(fresh) + TINY) * amount
    return delta


def pixels(top: Tensor, left: Tensor, side: int, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The index of each lane's window in (L, C, H, W)."""
    steps = torch.arange(side, device=top.device)
    lane = torch.arange(len(top), device=top.device)[:, None, None, None]
    channel = torch.arange(channels, device=top.device)[None, :, None, None]
    row, column = top[:, None] + steps, left[:, None] + steps
    return lane, channel, row[:, None, :, None], column[:, None, None, :]


def spend(case: Case, x: Tensor, delta: Tensor) -> Tensor:
    """The pictures changed by `delta`: in L2 scaled to the radius, and projected."""
    if case.threat.name == "l2":
        delta = delta / (size(case, delta, (-3, -2, -1)) + TINY) * radius(case, x)
    return case.project((x + delta).view_as(case.x)).view_as(x)


def size(case: Case, delta: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The threat's norm over these axes, which stay with length 1."""
    if case.threat.name == "l2":
        return delta.square().sum(axes, keepdim=True).sqrt()
    return delta.abs().sum(axes, keepdim=True)


def radius(case: Case, like: Tensor, lanes: Tensor | None = None) -> float | Tensor:
    """The threat's radius, of some lanes, against (L, C, H, W)."""
    eps = case.threat.eps
    if not isinstance(eps, Tensor):
        return eps
    return (eps if lanes is None else eps[lanes]).to(like).view(-1, 1, 1, 1)


def signs(uniform: Tensor) -> Tensor:
    """Plus or minus one for numbers in [0, 1)."""
    return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)


def odd(side: Tensor) -> Tensor:
    """The side of a window: at least `SMALLEST`, and odd."""
    side = side.clamp_min(SMALLEST)
    return side + (side % 2 == 0)


@lru_cache(maxsize=256)
def bump(side: int, norm: str) -> Tensor:
    """(side, side) float64: a pile of rectangles above, one turned down below, of size 1 in the norm over all."""
    parts = [
        sign * unit(pile(rows, side, POWER[norm]), norm) for sign, rows in ((1, side // 2), (-1, side - side // 2))
    ]
    return unit(torch.cat(parts), norm)


def unit(part: Tensor, norm: str) -> Tensor:
    """Scaled to size 1; nothing stays nothing."""
    length = part.square().sum().sqrt() if norm == "l2" else part.abs().sum()
    return part / (length + TINY)


def pile(rows: int, columns: int, power: int) -> Tensor:
    """(rows, columns) float64: rectangle k of weight k^-power reaches k - 1 pixels around the middle."""
    down = (torch.arange(rows) - rows // 2).abs()
    across = (torch.arange(columns) - columns // 2).abs()
    reach = max(rows // 2, columns // 2) + 1
    weights = torch.arange(1, reach + 1, dtype=torch.float64) ** -power
    outside = torch.cat([weights.new_zeros(1), weights.cumsum(0)])  # of the rectangles that do not come so far
    return outside[-1] - outside[torch.maximum(down[:, None], across[None, :])]

"""The smallest move within the box that changes a linear form by a given amount; shared by the norms.

Each value can move one way only, by its `room`, and gains its `weight` a unit. A norm says who moves: all at a rate of
their own until they are stopped (Linf: 1, L2: the weight), or one after the other (L1: by weight, L0: by gain).
"""

import torch
from torch import Tensor

NEWTON = 30  # steps at most; a CPU stops as soon as no lane moves


def openings(x: Tensor, normal: Tensor, gap: Tensor, low: float, high: float) -> tuple[Tensor, Tensor, Tensor]:
    """(N, d) each: the way in which <normal, x> changes by `gap` (N,), the room that way in the box, and the weight."""
    flat = normal.flatten(1)
    way = flat.sign() * gap.sign()[:, None]
    start = x.flatten(1)
    room = torch.where(way > 0, high - start, torch.where(way < 0, start - low, 0.0)).clamp_min(0)
    return way, room, flat.abs()


def together(room: Tensor, weight: Tensor, rate: Tensor, amount: Tensor) -> Tensor:
    """(N, d): min(level * rate, room) with the level that gains `amount` (N,); all the room where that is too much.

    The gain is a concave, piecewise linear function of the level, so Newton's method from below never passes the
    level, and ends on it once the last bend before it is behind.
    """
    tiny, huge = torch.finfo(room.dtype).tiny, torch.finfo(room.dtype).max ** 0.5
    slope = weight * rate
    level = torch.zeros_like(amount)[:, None]
    for _ in range(NEWTON):
        reach = level * rate
        owed = (amount[:, None] - (torch.minimum(reach, room) * weight).sum(1, keepdim=True)).clamp_min_(0)
        steep = (slope * (reach < room)).sum(1, keepdim=True)
        before, level = level, (level + owed / steep.clamp_min_(tiny)).clamp_max_(huge)
        if level.device.type == "cpu" and torch.equal(before, level):
            break  # all lanes stand still for good; another device would have to be waited for
    return torch.minimum(level * rate, room)


def in_turn(room: Tensor, weight: Tensor, key: Tensor, amount: Tensor) -> Tensor:
    """(N, d): values take all their room in falling order of `key`, the last just enough to gain `amount` (N,)."""
    order = key.argsort(dim=1, descending=True, stable=True)
    gain = (weight * room).gather(1, order)
    before = gain.cumsum(1) - gain
    owed = (amount[:, None] - before).clamp_min(0)
    part = owed / weight.gather(1, order).clamp_min(torch.finfo(room.dtype).tiny)
    taken = torch.minimum(part, room.gather(1, order))
    return torch.zeros_like(room).scatter_(1, order, taken)

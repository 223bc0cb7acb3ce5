"""The smallest move within the box that changes a linear form by a given amount; shared by the norms.

Each value can move one way only, by its `room`, and gains its `weight` a unit. A norm says who moves: all at a rate of
their own until they are stopped (Linf: 1, L2: the weight), or one after the other (L1: by weight, L0: by gain).
"""

import torch
from torch import Tensor

NEWTON = 30  # steps at most; a CPU stops as soon as no lane has further to go
ROUNDING = 8  # in units of the float type's own: closer than this no level brings the gain to its amount


def openings(x: Tensor, normal: Tensor, gap: Tensor, low: float, high: float) -> tuple[Tensor, Tensor, Tensor]:
    """(N, d) each: the way in which <normal, x> changes by `gap` (N,), the room that way in the box, and the weight."""
    flat, start = normal.flatten(1), x.flatten(1)
    way = flat.sign().mul_(gap.sign()[:, None])
    # By arithmetic, since masks are several times slower on a CPU: past the box and back to its side.
    side = (start + way * (2 * (high - low))).clamp_(low, high)
    return way, side.sub_(start).mul_(way).clamp_min_(0), flat.abs()


def together(room: Tensor, weight: Tensor, rate: Tensor | None, amount: Tensor) -> Tensor:
    """(N, d): min(level * rate, room) with the level that gains `amount` (N,); all the room where that is too much.

    The gain is a concave, piecewise linear function of the level, so Newton's method from below never passes the
    level, and ends on it once the last bend before it is behind. No `rate` is a rate of 1.
    """
    info = torch.finfo(room.dtype)
    slope = weight if rate is None else weight * rate
    amount = amount[:, None].clamp_max(info.max / 2)
    near = amount * (ROUNDING * info.eps)
    level = torch.zeros_like(amount)
    for _ in range(NEWTON):
        moved = torch.minimum(level if rate is None else level * rate, room)
        owed = amount - (moved * weight).sum(1, keepdim=True)
        # 1 where the box has not stopped a value, else 0, as floats: bool tensors are several times slower here.
        steep = (room - moved).sign_().mul_(slope).sum(1, keepdim=True)
        if room.device.type == "cpu" and not bool(((owed > near) & (steep > 0)).any()):
            return moved  # another device would have to be waited for
        level = (level + owed.clamp_min(0) / steep.clamp_min(info.tiny)).clamp_max_(info.max**0.5)
    return torch.minimum(level if rate is None else level * rate, room)


def in_turn(room: Tensor, weight: Tensor, key: Tensor, amount: Tensor) -> Tensor:
    """(N, d): values take all their room in falling order of `key`, the last just enough to gain `amount` (N,)."""
    order = key.argsort(dim=1, descending=True, stable=True)
    gain = (weight * room).gather(1, order)
    before = gain.cumsum(1) - gain
    owed = (amount[:, None] - before).clamp_min(0)
    part = owed / weight.gather(1, order).clamp_min(torch.finfo(room.dtype).tiny)
    taken = torch.minimum(part, room.gather(1, order))
    return torch.zeros_like(room).scatter_(1, order, taken)


def below(delta: Tensor, amount: Tensor) -> Tensor:
    """`delta` (N, ...) cut to the level in each lane above which its sizes sum to `amount` (N,); 0 where all are less.

    What is cut off is the projection of `delta` onto the ball of the sum of sizes.
    """
    size = delta.flatten(1).abs()
    kept = together(size, torch.ones_like(size[:, :1]), None, (size.sum(1) - amount).clamp_min(0))
    return kept.view_as(delta).copysign(delta)

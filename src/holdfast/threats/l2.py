"""The Euclidean length of the change is bounded."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.threats.planes import openings, together
from holdfast.threats.threat import DrawsLike, Limits, box_around, check, finite, per_lane

__all__ = ["L2"]

# Steps of Newton's method in `project`: moves of eps / 10 on pictures settle within four, the worst tried in seven.
_NEWTON = 8


@dataclass(frozen=True, kw_only=True)
class L2:
    """The change has a Euclidean length of at most `eps`, and every value stays within [low, high].

    Raises: `OptionError` unless low < high and eps >= 0, all finite (shape only for a tensor).
    """

    eps: float | Tensor  # radius, in input units over all channels and pixels; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0

    name: ClassVar[str] = "l2"
    nearest: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    grain: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        check(self)

    def size(self, delta: Tensor) -> Tensor:
        """Square root of the sum of squares of each delta, (N,)."""
        return delta.flatten(1).square().sum(1).sqrt()

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """The gradient brought to length 1; zero where it is zero. NaN counts as 0, infinity as the largest float."""
        flat = finite(grad).flatten(1)
        # Largest value first: squares of a vanishing gradient underflow, and those of a huge one overflow.
        flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
        length = flat.square().sum(1, keepdim=True).sqrt()
        return (flat / length.clamp_min(0.5)).view_as(grad)

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Uniform in the ball, then projected.

        The first d coordinates of a uniform point on the sphere in d + 2 dimensions are uniform in the ball, and
        the squares of its last two sum to twice an exponential.
        Source: Barthe, Guedon, Mendelson & Naor 2005, arXiv:math/0503650, thm. 1 with p = 2.
        """
        normal = draws.normal(x).flatten(1)
        rest = 2 * draws.exponential(x.flatten(1)[:, :1], stream=1)
        length = (normal.square().sum(1, keepdim=True) + rest).clamp_min(torch.finfo(x.dtype).tiny).sqrt()
        return self.project(x + per_lane(self.eps, x) * (normal / length).view_as(x), x, limits)

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Uniform on the sphere, then projected."""
        normal = draws.normal(x).flatten(1)
        length = normal.square().sum(1, keepdim=True).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        return self.project(x + per_lane(self.eps, x) * (normal / length).view_as(x), x, limits)

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The nearest point of ball and box together, for finite `x_adv`.

        Cut to the box it may lie in the ball: done. Else the nearest point is x + t (x_adv - x) cut to the box, with
        the t in (0, 1] that makes its length `eps` (the Lagrange condition of the ball, t = 1 / (1 + multiplier)).
        Its squared length is a concave, piecewise linear function of s = t^2. Newton's method from the left
        therefore never passes the root and stops at it; on a GPU eight steps are taken whether needed or not, which
        spares asking the device. Each divides gap times slope by 4 or more, so that the squared length ends within
        eps * |x_adv - x| / 2^8 of eps^2 on any input, and at eps^2 up to rounding on all but contrived ones.
        """
        lower, upper = self.limits(x) if limits is None else limits
        boxed, move = torch.clamp(x_adv, lower, upper), x_adv - x
        radius = per_lane(self.eps, x.flatten(1)[:, :1])
        # Half a step of the dtype at the box's far end is what rounding may add to each value of the result.
        unit = torch.finfo(x.dtype).eps / 2
        slack = unit * max(abs(self.low), abs(self.high)) * math.sqrt(math.prod(x.shape[1:]))
        target = (radius * (1 - 8 * unit) + torch.full_like(x.flatten(1)[:, :1], -slack)).clamp_min(0)
        # What is left to the side of the box that each value moves to.
        room = (boxed + move.sign() * (upper - lower)).clamp(lower, upper) - x
        t = _scale(move.flatten(1).square(), room.flatten(1).square(), target.square()).sqrt()
        inside = self.size(boxed - x)[:, None] <= radius
        shape = (-1, *[1] * (x.ndim - 1))
        moved = torch.clamp(x + t.view(shape) * move, lower, upper)
        return torch.where(inside.view(shape), boxed, moved, out=out)

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """All values move in proportion to `normal` until the box stops them."""
        way, room, weight = openings(x, finite(normal), gap, self.low, self.high)
        return (way * together(room, weight, weight, gap.abs())).view_as(x)

    def dual(self, grad: Tensor) -> Tensor:
        """The Euclidean length."""
        return grad.flatten(1).square().sum(1).sqrt()

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """Scaled to `length` where it is longer."""
        share = length / self.size(delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return delta * per_lane(share.clamp_max(1), delta)

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """Made shorter by `amount`."""
        share = 1 - amount / self.size(delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return delta * per_lane(share.clamp_min(0), delta)

    def limits(self, x: Tensor) -> Limits:
        """`x` minus and plus `eps`, cut to the box."""
        return box_around(x, self.eps, self.low, self.high)

    def with_eps(self, eps: float | Tensor) -> "L2":
        """The same box with another radius."""
        return replace(self, eps=eps)


def _scale(move: Tensor, room: Tensor, target: Tensor) -> Tensor:
    """The s <= 1 at which min(room, s * move) sums to `target`, from below: squares (N, d) and (N, 1) -> (N, 1)."""
    tiny = torch.finfo(move.dtype).tiny
    s = (target / move.sum(1, keepdim=True).clamp_min(tiny)).clamp_max(1)
    for _ in range(_NEWTON):
        moved = (s * move).clamp_max_(room)
        # Never back: over a slope near 0, a gap that rounding made negative would throw s far to the left.
        gap = (target - moved.sum(1, keepdim=True)).clamp_min_(0)
        # -1 where a value has not reached its side, else 0, as floats: bool tensors are several times slower here.
        slope = -moved.sub_(room).sign_().mul_(move).sum(1, keepdim=True)
        before, s = s, (s + gap / slope.clamp_min(tiny)).clamp_max(1)
        if s.device.type == "cpu" and torch.equal(s, before):
            break  # all lanes stand still for good; another device would have to be waited for
    return s

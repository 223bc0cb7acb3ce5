"""The sum of absolute changes is bounded."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.threats.planes import below, in_turn, openings
from holdfast.threats.threat import DrawsLike, Limits, box_around, check, finite, per_lane

__all__ = ["L1"]


@dataclass(frozen=True, kw_only=True)
class L1:
    """The absolute changes sum to at most `eps`, and every value stays within [low, high].

    Raises: `OptionError` unless low < high and eps >= 0, all finite (shape only for a tensor), and 0 < spread <= 1.
    """

    eps: float | Tensor  # radius, in input units summed over all channels and pixels; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0
    spread: float | Tensor = 0.01  # share of the input values that one steepest move changes; or (N,), one a lane

    name: ClassVar[str] = "l1"
    nearest: ClassVar[bool] = True
    sparse: ClassVar[bool] = True
    grain: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        check(self)
        if not isinstance(self.spread, Tensor) and not 0 < self.spread <= 1:
            raise OptionError(
                f"L1: spread={self.spread!r}; allowed: 0 < spread <= 1, a share of the input values. "
                "For the 99th percentile, pass spread=0.01."
            )

    def size(self, delta: Tensor) -> Tensor:
        """Sum of absolute values of each delta, (N,)."""
        return delta.flatten(1).abs().sum(1)

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """Equal steps, by the gradient's sign, at the share `spread` of values where it is largest; size 1 in all.

        The one largest value alone would gain most for small moves, but is soon used up; `spread` near 0 gives
        that. Values as large as the last one chosen are chosen too. With `x_adv`, values already at the side of
        `limits` (of the box, when None) that they would move to are passed over: without this the attack stalls.
        Zero where the gradient is zero. NaN counts as 0, infinity as the largest float.
        Source: Tramer & Boneh 2019, arXiv:1904.13000, on the sparse l1 descent attack; its percentile is
        100 * (1 - spread), and the passing over comes from published code of that attack.
        """
        flat = finite(grad).flatten(1)
        if x_adv is not None:
            flat = flat * self._free(flat, x_adv, limits)
        size = flat.abs()
        last = self._last_chosen(size)
        move = flat.sign() * (size >= last)
        return (move / move.abs().sum(1, keepdim=True).clamp_min(1)).view_as(grad)

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Uniform in the ball, then projected.

        Of d + 1 exponentials over their sum, the first d with random signs are uniform in the ball.
        Source: Barthe, Guedon, Mendelson & Naor 2005, arXiv:math/0503650, thm. 1 with p = 1.
        """
        size = draws.exponential(x)
        total = size.flatten(1).sum(1, keepdim=True) + draws.exponential(x.flatten(1)[:, :1], stream=2)
        share = (size.flatten(1) / total.clamp_min(torch.finfo(x.dtype).tiny)).view_as(x)
        sign = (draws.uniform(x, stream=1) - 0.5).sign()
        return self.project(x + per_lane(self.eps, x) * sign * share, x, limits)

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Standard normal noise, projected: few values keep a change.

        Source: Croce & Hein 2021, arXiv:2103.01208, where the L1 attack begins.
        """
        return self.project(x + draws.normal(x), x, limits)

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The nearest point of ball and box together, for finite `x_adv`.

        Cut to the box it may lie in the ball: done. Else each value's change is brought nearer to 0 by a threshold,
        not past it, and then cut to the box, with the one threshold a lane that makes the sizes sum to `eps`. That
        sum falls as the threshold rises, so halving an interval as often as the dtype has bits finds it to the last
        bit, from the side that stays inside.
        Source: Croce & Hein 2021, arXiv:2103.01208, on the projection onto ball and box; there by sorting the
        breakpoints, which gives the same point up to rounding and takes longer in torch.
        """
        lower, upper = self.limits(x) if limits is None else limits
        boxed, move = torch.clamp(x_adv, lower, upper), x_adv - x
        radius = per_lane(self.eps, x.flatten(1)[:, :1])
        inside = self.size(boxed - x)[:, None] <= radius
        room = (boxed + move.sign() * (upper - lower)).clamp(lower, upper) - x
        unit = torch.finfo(x.dtype).eps / 2
        threshold = _threshold(move.flatten(1).abs(), room.flatten(1).abs(), radius * (1 - 8 * unit))
        # Half a step of the dtype at the box's far end is what rounding may add to each value of the result.
        threshold = (threshold + unit * max(abs(self.low), abs(self.high))).view(-1, *[1] * (x.ndim - 1))
        moved = x + (move - torch.clamp(move, -threshold, threshold))
        return torch.where(inside.view_as(threshold), boxed, torch.clamp(moved, lower, upper), out=out)

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The values that gain most a unit move first, as far as the box allows."""
        way, room, weight = openings(x, finite(normal), gap, self.low, self.high)
        return (way * in_turn(room, weight, weight, gap.abs())).view_as(x)

    def dual(self, grad: Tensor) -> Tensor:
        """The largest absolute value."""
        return grad.flatten(1).abs().amax(1)

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """Every value brought nearer to 0 by the level above which the values sum to `length`."""
        return delta - below(delta, length)

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """Every value brought nearer to 0 by `amount`."""
        level = cast(Tensor, per_lane(amount, delta))
        return delta - torch.clamp(delta, -level, level)

    def limits(self, x: Tensor) -> Limits:
        """`x` minus and plus `eps`, cut to the box."""
        return box_around(x, self.eps, self.low, self.high)

    def with_eps(self, eps: float | Tensor) -> "L1":
        """The same box and spread with another radius."""
        return replace(self, eps=eps)

    def _last_chosen(self, size: Tensor) -> Tensor:
        """(N, 1): the least of the values (N, d) that belong to the share `spread`."""
        values = size.shape[1]
        if not isinstance(self.spread, Tensor):
            return size.topk(max(1, round(self.spread * values)), dim=1).values[:, -1:]
        place = ((1 - self.spread) * values).long().clamp(0, values - 1)  # from below, one a lane
        return size.sort(dim=1).values.gather(1, place[:, None])

    def _free(self, flat: Tensor, x_adv: Tensor, limits: Limits | None) -> Tensor:
        """1 where a step along `flat` (N, d) can be taken from `x_adv`, else 0."""
        lower, upper = (self.low, self.high) if limits is None else (side.flatten(1) for side in limits)
        start = x_adv.flatten(1)
        return ((flat > 0) & (start < upper)) | ((flat < 0) & (start > lower))


def _threshold(move: Tensor, room: Tensor, target: float | Tensor) -> Tensor:
    """The least t, to the last bit, with sum(min(room, max(move - t, 0))) <= target: sizes (N, d) -> (N, 1)."""
    high = move.amax(1, keepdim=True)
    low = torch.zeros_like(high)
    for _ in range(2 - math.frexp(torch.finfo(move.dtype).eps)[1]):
        middle = (low + high) / 2
        over = (move - middle).relu_().clamp_max_(room).sum(1, keepdim=True) > target
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return high

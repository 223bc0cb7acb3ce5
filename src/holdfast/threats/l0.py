"""The number of changed input values is bounded; by units, which are single values here."""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.threats.planes import in_turn, openings
from holdfast.threats.threat import DrawsLike, Limits, box_around, check, finite, per_lane

__all__ = ["L0"]


@dataclass(frozen=True, kw_only=True)
class L0:
    """At most `eps` input values change, each channel of a pixel counted by itself, and stay within [low, high].

    Raises: `OptionError` unless low < high, finite, and eps is a whole number >= 0 (shape only for a tensor).
    """

    eps: float | Tensor  # radius: a whole number of input values; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0

    name: ClassVar[str] = "l0"
    nearest: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    grain: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        check(self)
        if not isinstance(self.eps, Tensor) and self.eps != int(self.eps):
            raise OptionError(
                f"{type(self).__name__}: eps={self.eps!r}; allowed: whole numbers, how many may change. "
                f"Pass eps={int(self.eps)} or eps={int(self.eps) + 1}."
            )

    def size(self, delta: Tensor) -> Tensor:
        """How many units of each delta are not zero, (N,), in the dtype of `delta`."""
        # Not by lengths, whose squares may vanish.
        return self._sums((delta != 0).to(delta.dtype)).count_nonzero(1).to(delta.dtype)

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """The gradient's sign at its `eps` largest units, the first of equal ones; 0 elsewhere and for 0 and NaN.

        Here alone the move has size `eps`, not 1: a move along one unit a step would leave the others unused.
        """
        slope = finite(grad)
        return slope.sign() * self._spread(self._largest(self._sums(slope.abs())), slope)

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """`eps` units chosen at random, each of their values uniform in [low, high]."""
        chosen = self._spread(self._largest(self._sums(draws.uniform(x))), x)
        value = (self.low + (self.high - self.low) * draws.uniform(x, stream=1)).clamp(self.low, self.high)
        return torch.where(chosen, value, x)

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """As `sample`, which changes `eps` units."""
        return self.sample(x, draws, limits)

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The nearest point with at most `eps` changed units, inside the box.

        A unit that may change goes to `x_adv` cut to the box, any other stays at `x`. Letting value i change
        lowers the squared distance to `x_adv` by gain_i = (x_adv - x)_i^2 - (x_adv - boxed)_i^2 >= 0, whatever the
        others do, so the units of the `eps` largest gains, the first of equal ones, are the best choice. Cost: one
        sort a picture.
        """
        lower, upper = self.limits(x) if limits is None else limits
        boxed = torch.clamp(x_adv, lower, upper)
        reach = (boxed - x).abs()
        # The difference of squares as a product, which does not cancel.
        gain = self._sums(reach * (reach + 2 * (x_adv - boxed).abs()))
        # A change so small that its square vanishes is still one: points inside are told by their size.
        inside = self.size(boxed - x)[:, None] <= per_lane(self.eps, gain)
        return torch.where(self._spread(self._largest(gain) | inside, x), boxed, x, out=out)

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The units that gain most in all move first, as far as the box allows."""
        way, room, weight = openings(x, finite(normal), gap, self.low, self.high)
        gain = self._sums((weight * room).view_as(x))
        share = in_turn(torch.ones_like(gain), gain, gain, gap.abs())  # of its room that each unit takes
        return (way * room).view_as(x) * self._spread(share, x)

    def dual(self, grad: Tensor) -> Tensor:
        """The largest sum of absolute values within a unit, times the width of the box."""
        return self._sums(grad.abs()).amax(1) * (self.high - self.low)

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """The `length` largest units, the first of equal ones; the others 0."""
        return delta * self._spread(largest(self._lengths(delta), length), delta)

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """The units whose squares sum to more than twice the `amount`; the others 0."""
        length = self._lengths(delta)
        least = cast(Tensor, per_lane((2 * amount).sqrt(), length))
        # 1 where the unit stays, else 0, as floats: bool tensors are several times slower on a CPU.
        return delta * self._spread((length - least).sign_().clamp_min_(0), delta)

    def limits(self, x: Tensor) -> Limits:
        """The whole box, whatever `eps`: any value may be among those that change; `x` itself when eps is 0."""
        reach = (self.eps >= 1) * (2 * (self.high - self.low))
        return box_around(x, reach, self.low, self.high)

    def with_eps(self, eps: float | Tensor) -> "L0":
        """The same box with another radius."""
        return replace(self, eps=eps)

    def _sums(self, values: Tensor) -> Tensor:
        """(N, units): the sum of values >= 0 over each unit; here a unit is one value."""
        return values.flatten(1)

    def _lengths(self, delta: Tensor) -> Tensor:
        """(N, units): the Euclidean length of each unit's change."""
        return delta.flatten(1).abs()

    def _spread(self, units: Tensor, like: Tensor) -> Tensor:
        """Numbers (N, units) at all values of their units, broadcasting against `like`."""
        return units.view_as(like)

    def _largest(self, score: Tensor) -> Tensor:
        """True at the `eps` largest of each row of (N, units), the first of equal ones."""
        count = torch.as_tensor(self.eps, dtype=torch.float64, device=score.device).expand(len(score))
        return largest(score, count.floor()) > 0


def largest(score: Tensor, count: Tensor) -> Tensor:
    """1 at the `count` (N,) largest of each row of (N, d), the first of equal ones; else 0, in the dtype of `score`.

    A count between two whole numbers is the larger one. A value counts as less than an equal one before it by a share
    of 2^-50: values that differ by a share of d / 2^50 or less may change places.
    """
    place = torch.arange(score.shape[1], dtype=torch.float64, device=score.device)
    key = score.double() * (1 - place * 2.0**-50)
    if score.device.type == "cpu":  # another device would have to be waited for, and sorts fast
        most = int(count.amax().ceil().clamp(0, score.shape[1]))
        order = key.topk(most, dim=1).indices
    else:
        order = key.argsort(dim=1, descending=True)
    rank = torch.arange(order.shape[1], device=score.device)
    return torch.zeros_like(score).scatter_(1, order, (rank < count[:, None]).to(score.dtype))

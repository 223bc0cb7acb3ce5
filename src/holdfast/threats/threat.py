"""The interface of a threat, and the little that all norms share."""

import math
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from holdfast.errors import OptionError

__all__ = ["DrawsLike", "Limits", "Threat", "box_around", "check", "finite", "per_lane", "rounded_towards", "whole_box"]

Limits = tuple[Tensor, Tensor]


class DrawsLike(Protocol):
    """The draws that `sample` needs: tensors like the given one, told apart by stream."""

    def uniform(self, like: Tensor, stream: int = 0) -> Tensor:
        """Uniform in [0, 1)."""

    def normal(self, like: Tensor, stream: int = 0) -> Tensor:
        """Standard normal."""

    def exponential(self, like: Tensor, stream: int = 0) -> Tensor:
        """Exponential with mean 1."""


class Threat(Protocol):
    """What may be done to a picture: everything within `eps` of it in some norm, and within the box [low, high].

    Pictures are (N, ...) float32 or float64, N lanes, `x` inside the box; deltas are differences of pictures.
    `eps` is one float for all, or (N,), one a lane, in the units of the inputs. No method waits for the device.
    """

    name: ClassVar[str]
    nearest: ClassVar[bool]  # whether `project` gives the nearest point, or only one inside

    @property
    def sparse(self) -> bool:
        """Whether the sum of changes is what is short, so that good moves change few values."""

    @property
    def grain(self) -> float:
        """What sizes are multiples of; 0 where any size is possible."""

    @property
    def eps(self) -> float | Tensor:
        """Radius."""

    @property
    def low(self) -> float:
        """Smallest input value allowed."""

    @property
    def high(self) -> float:
        """Largest input value allowed."""

    def size(self, delta: Tensor) -> Tensor:
        """The norm of each delta, (N,), in its dtype."""

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """The move that raises the linear form <grad, move> most; zero where `grad` is zero, and for NaN.

        `x_adv` with `limits`, or with the box when those are None, lets a norm that would waste its move on
        values which cannot go further (L1) leave those out; the others ignore both.
        """

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """A random picture inside: uniform in the ball, then projected. Uses the streams 0 to 2 of `draws`."""

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """A random picture at the edge: of size `eps` before it is projected. Uses the streams 0 to 2 of `draws`."""

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The point inside nearest to `x_adv` (with `nearest`), unchanged if inside.

        `limits` spares computing them; the result is written to `out` (perhaps `x_adv` itself) where that is given.
        """

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The move of least size, within the box, that changes <normal, x> by `gap` (N,); `eps` plays no part.

        Where the box does not allow that much, the move that comes nearest. Cost: one sort a picture.
        """

    def dual(self, grad: Tensor) -> Tensor:
        """(N,): the most that <grad, move> can be for moves of size 1, without the box."""

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """The nearest delta of a size of at most `length` (N,), without the box; `eps` plays no part.

        No value changes its sign or grows, so that a move which stays within the box still does. In L0 a `length`
        between two whole numbers counts as the larger one.
        """

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """The d that minimises `amount` * size(d) + |d - delta|^2 / 2: the proximal operator of the size.

        `amount` is (N,), >= 0. No value changes its sign or grows. `eps` plays no part.
        Source: Parikh & Boyd 2014, Proximal Algorithms, sec. 6.
        """

    def limits(self, x: Tensor) -> Limits:
        """Smallest and largest value each input may take, two tensors like `x`."""

    def with_eps(self, eps: float | Tensor) -> Self:
        """The same threat with another radius."""


def check(threat: Threat, widest: float = math.inf) -> None:
    """Raise `OptionError` unless low < high, both finite, and 0 <= eps <= widest; a tensor's shape alone is checked."""
    kind, eps, low, high = type(threat).__name__, threat.eps, threat.low, threat.high
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise OptionError(
            f"{kind}: low={low!r}, high={high!r}; allowed: finite numbers, low < high. "
            "For images in [0, 1], leave both out."
        )
    if isinstance(eps, Tensor):
        if eps.ndim != 1:
            raise OptionError(
                f"{kind}: eps is a tensor of shape {tuple(eps.shape)}; allowed: a float, or a tensor (N,), "
                "one radius a lane. Pass float(eps) for one radius."
            )
    elif not (0 <= eps <= widest and math.isfinite(eps)):
        limit = f" <= {widest:g}, the width of the box" if math.isfinite(widest) else ", finite"
        mend = "For 8 grey levels on a [0, 1] scale, pass eps=8/255." if eps > 0 else "Pass a radius such as 8/255."
        raise OptionError(f"{kind}: eps={eps!r}; allowed: 0 <= eps{limit}, in input units. {mend}")


def per_lane(eps: float | Tensor, like: Tensor) -> float | Tensor:
    """`eps` in a shape that broadcasts against `like` (N, ...), in its dtype."""
    if not isinstance(eps, Tensor):
        return eps
    return eps.to(like).view(-1, *[1] * (like.ndim - 1))


def box_around(x: Tensor, eps: float | Tensor, low: float, high: float) -> Limits:
    """Smallest and largest value of each input within `eps` of `x` and within [low, high].

    A sum that rounding carried further than `eps` from `x` is taken back by one step of the dtype, so that a
    size measured again from the pictures does not exceed `eps`.
    """
    radius = per_lane(eps, x)
    reach = radius if isinstance(radius, Tensor) else torch.tensor(radius, dtype=x.dtype, device=x.device)
    # A step towards `x`, which lies in the box, does not lead out of it.
    lower, upper = ((x + side).clamp_(low, high) for side in (-radius, radius))
    return rounded_towards(lower, x, reach), rounded_towards(upper, x, reach)


def rounded_towards(x_adv: Tensor, x: Tensor, reach: Tensor) -> Tensor:
    """`x_adv`, finite, one float step nearer to `x` wherever rounding put it further than `reach` away."""
    # Where it is near enough the step leads from it to itself: on a CPU `where` takes longer than all of this.
    back = x - x_adv
    too_far = back.abs().sub_(reach).sign_().clamp_(min=0)
    return x_adv.nextafter(torch.addcmul(x_adv, back, too_far))


def finite(grad: Tensor) -> Tensor:
    """`grad` with NaN as 0 and infinities as the largest floats: one bad value does not spoil its lane's direction."""
    return grad.nan_to_num(nan=0.0)


def whole_box(threat: Threat, shape: tuple[int, ...]) -> float:
    """The threat's size of the move from one corner of the box to the opposite one: no picture is further away."""
    lanes = max((len(option) for option in vars(threat).values() if isinstance(option, Tensor)), default=1)
    corner = torch.full((lanes, *shape), threat.high - threat.low, dtype=torch.float64)
    # No size is above the sum of the values, or of as many ones: only what may not change at all is cut off.
    longest = torch.full((lanes,), math.prod(shape) * max(1.0, threat.high - threat.low), dtype=torch.float64)
    return float(threat.size(threat.shorten(corner, longest)).max())

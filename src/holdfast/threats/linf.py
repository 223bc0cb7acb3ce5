"""The largest change of any input value is bounded."""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from holdfast.threats.planes import below, openings, together
from holdfast.threats.threat import DrawsLike, Limits, box_around, check, finite, per_lane

__all__ = ["Linf"]


@dataclass(frozen=True, kw_only=True)
class Linf:
    """Every input value moves by at most `eps` and stays within [low, high].

    Raises: `OptionError` unless low < high and 0 <= eps <= high - low (shape only for a tensor).
    """

    eps: float | Tensor  # radius, in input units: 8/255 for images in [0, 1]; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0

    name: ClassVar[str] = "linf"
    nearest: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    grain: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        """Check the options."""
        check(self, widest=self.high - self.low)

    def size(self, delta: Tensor) -> Tensor:
        """Largest absolute value of each delta, (N,)."""
        return delta.flatten(1).abs().amax(1)

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """The sign of the gradient, 0 for 0 and for NaN: of all moves of size 1, the one that gains most."""
        return grad.sign()

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Uniform in the cube of half-width `eps`, then cut to the box."""
        move = draws.uniform(x).mul_(2).sub_(1).mul_(per_lane(self.eps, x))
        return self.project(move.add_(x), x, limits, out=move)

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Uniform in the cube, stretched until its largest change is `eps`, then cut to the box."""
        move = draws.uniform(x).mul_(2).sub_(1)
        largest = per_lane(move.flatten(1).abs().amax(1), x)
        move = move.div_(cast(Tensor, largest).clamp_min_(torch.finfo(x.dtype).tiny)).mul_(per_lane(self.eps, x))
        return self.project(move.add_(x), x, limits, out=move)

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The nearest point inside, in every norm: one clamp."""
        lower, upper = self.limits(x) if limits is None else limits
        return torch.clamp(x_adv, lower, upper, out=out)

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """All values move equally far until the box stops them."""
        way, room, weight = openings(x, finite(normal), gap, self.low, self.high)
        return (way * together(room, weight, None, gap.abs())).view_as(x)

    def dual(self, grad: Tensor) -> Tensor:
        """The sum of absolute values."""
        return grad.flatten(1).abs().sum(1)

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """Every value cut to `length`."""
        most = cast(Tensor, per_lane(length, delta))
        return torch.clamp(delta, -most, most)

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """Every value cut to the level above which the values sum to `amount`: delta less its projection onto L1."""
        return below(delta, amount)

    def limits(self, x: Tensor) -> Limits:
        """`x` minus and plus `eps`, cut to the box."""
        return box_around(x, self.eps, self.low, self.high)

    def with_eps(self, eps: float | Tensor) -> "Linf":
        """The same box with another radius."""
        return replace(self, eps=eps)

"""A norm, but only where a mask allows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.threats.l0 import L0
from holdfast.threats.l1 import L1
from holdfast.threats.l2 import L2
from holdfast.threats.linf import Linf
from holdfast.threats.mask import Mask, mask_from
from holdfast.threats.pixels import Pixels
from holdfast.threats.threat import DrawsLike, Limits, Threat, check

__all__ = ["Masked", "norm_name"]

Norm = Literal["linf", "l2", "l1", "l0", "pixels"]
NORMS: dict[str, type[Linf] | type[L2] | type[L1] | type[L0]] = {kind.name: kind for kind in (Linf, L2, L1, L0, Pixels)}


@dataclass(frozen=True, kw_only=True)
class Masked:
    """A change within `eps` in a norm, and only of values that the mask allows; the others stay as they are.

    The ball of the norm in the picture of the allowed values alone: a change anywhere else has infinite size.
    Raises: `OptionError` for an unknown norm, a mask that allows nothing or has other sides than the pictures, and
    what the norm itself refuses.
    """

    eps: float | Tensor  # radius, in the units of the norm; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0
    norm: Norm = field(default="linf", metadata={"help": "what is bounded by eps, where the mask allows a change"})
    mask: Mask | Tensor | PathLike[str] | Mapping[str, Any] | str = field(
        metadata={"help": "a PNG, white where values may change, or an .npy file of zeros and ones"}
    )
    spread: float | Tensor = field(
        default=0.01, metadata={"help": "of l1: share of the picture's values that one steepest move changes"}
    )

    name: ClassVar[str] = "masked"
    nearest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options, and read the mask."""
        if self.norm not in NORMS:
            raise OptionError(
                f"Masked: norm={self.norm!r}; allowed: {', '.join(NORMS)}. For changes of one size, pass norm='linf'."
            )
        check(self)
        object.__setattr__(self, "mask", mask_from(self.mask))
        _ = self.inside  # the norm has conditions of its own

    @property
    def inside(self) -> Threat:
        """The norm without the mask."""
        if self.norm == "l1":
            return L1(eps=self.eps, low=self.low, high=self.high, spread=self.spread)
        return NORMS[self.norm](eps=self.eps, low=self.low, high=self.high)

    @property
    def sparse(self) -> bool:
        """As the norm has it."""
        return self.inside.sparse

    @property
    def grain(self) -> float:
        """As the norm has it."""
        return self.inside.grain

    def allowed(self, x: Tensor) -> Tensor:
        """Bool, broadcasting against `x` (N, ...): which values may change. Raises: `OptionError` for other sides."""
        if isinstance(self.mask, Mask):
            return self.mask.over(x)
        bits = cast(Tensor, self.mask)
        channels = 1 if x.ndim == 2 else x.shape[1]
        sides = x.shape[1:] if x.ndim == 2 else x.shape[2:]
        if x.ndim != 4 or len(bits) != len(x) or bits.shape[1] not in (1, channels) or bits.shape[2:] != sides:
            raise OptionError(
                f"Masked: masks of {tuple(bits.shape)} for pictures of {tuple(x.shape)}; allowed: one a picture, "
                f"({len(x)}, 1 or {channels}, {', '.join(map(str, sides))}). Pass (H, W) for one mask for all."
            )
        return bits

    def size(self, delta: Tensor) -> Tensor:
        """The norm of each delta, (N,), in its dtype; infinite where a value that may not change does."""
        outside = ((delta != 0) & ~self.allowed(delta)).flatten(1).any(1)
        return self.inside.size(delta).masked_fill(outside, torch.inf)

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """The norm's, of the gradient where values may change."""
        return self.inside.steepest(self._within(grad), x_adv, limits)

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Uniform in the ball of the allowed values, then projected."""
        sides = self.limits(x) if limits is None else limits
        return self._within(self.inside.sample(x, self._draws(x, draws), sides), x)

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """As the norm, with the allowed values alone."""
        sides = self.limits(x) if limits is None else limits
        return self._within(self.inside.edge(x, self._draws(x, draws), sides), x)

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The nearest point: what may not change goes back, the rest to the norm's nearest point."""
        sides = self.limits(x) if limits is None else limits
        return self.inside.project(self._within(x_adv, x), x, sides, out=out)

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The norm's, along the allowed values of `normal`."""
        return self.inside.reach(x, self._within(normal), gap)

    def dual(self, grad: Tensor) -> Tensor:
        """The norm's, of the gradient where values may change."""
        return self.inside.dual(self._within(grad))

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """The norm's, with 0 where nothing may change."""
        return self.inside.shorten(self._within(delta), length)

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """The norm's, with 0 where nothing may change."""
        return self.inside.shrink(self._within(delta), amount)

    def limits(self, x: Tensor) -> Limits:
        """The norm's; `x` itself where nothing may change."""
        lower, upper = self.inside.limits(x)
        return self._within(lower, x), self._within(upper, x)

    def with_eps(self, eps: float | Tensor) -> "Masked":
        """The same mask, norm and box with another radius."""
        return replace(self, eps=eps)

    def _within(self, values: Tensor, x: Tensor | None = None) -> Tensor:
        """`values` where they may change, elsewhere those of `x`, or 0."""
        return torch.where(self.allowed(values), values, 0.0 if x is None else x)

    def _draws(self, x: Tensor, draws: DrawsLike) -> "Sparing":
        """The draws, with no move where none is allowed."""
        # Uniform numbers are moves 2u - 1, none at one half; where places are counted they say who comes first.
        return Sparing(draws, self.allowed(x), 0.0 if self.grain else 0.5)


def norm_name(threat: Threat) -> str:
    """The name of the threat's norm, under a mask that of the norm inside: by it attacks choose among their forms."""
    return threat.norm if isinstance(threat, Masked) else threat.name


@dataclass(frozen=True)
class Sparing:
    """Draws like the pictures are as if nothing was drawn outside the mask; others are left alone."""

    draws: DrawsLike
    allowed: Tensor
    none: float  # the uniform number that moves nothing

    def uniform(self, like: Tensor, stream: int = 0) -> Tensor:
        """Uniform in [0, 1)."""
        return self._spared(self.draws.uniform(like, stream), self.none)

    def normal(self, like: Tensor, stream: int = 0) -> Tensor:
        """Standard normal."""
        return self._spared(self.draws.normal(like, stream), 0.0)

    def exponential(self, like: Tensor, stream: int = 0) -> Tensor:
        """Exponential with mean 1."""
        return self._spared(self.draws.exponential(like, stream), 0.0)

    def _spared(self, drawn: Tensor, none: float) -> Tensor:
        if drawn.ndim != self.allowed.ndim or drawn.shape[1:] != torch.broadcast_shapes(
            drawn.shape[1:], self.allowed.shape[1:]
        ):
            return drawn  # one number a lane, not one a value
        return torch.where(self.allowed, drawn, none)

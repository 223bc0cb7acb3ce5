"""A square of the picture shows anything at all; the rest stays as it is."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.threats.planes import openings
from holdfast.threats.threat import DrawsLike, Limits, box_around, check, finite, per_lane
from holdfast.threats.windows import best, extent, planes, square

__all__ = ["Patch"]

ELSEWHERE = 0.9  # of a free patch: how far values outside the steepest square move, against 1 within


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Any values within [low, high] in a square of `eps` x `eps` pixels; the rest stays as it is.

    The square lies at `place`: the row and column of its upper left pixel, "corner" for (0, 0), "free" where an
    attack may choose, or a tensor (N, 2) of rows and columns, one a lane. Where it would stick out of the picture it is
    moved back, so that squares at one place grow until they cover all. The size of a change is the side of the smallest
    square that covers it: of those at the place, or of all where that is free. Inputs (N, d) are one row.

    Raises: `OptionError` unless low < high, finite, eps is a whole number >= 0 (shape only for a tensor), and the place
    is "corner", "free", two whole numbers >= 0 within the pictures, or such a tensor.
    """

    eps: float | Tensor  # radius: side of the square in pixels, a whole number; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0
    place: Literal["corner", "free"] | tuple[int, int] | Tensor = field(
        default="corner", metadata={"help": "row,column of the square's upper left pixel; corner is 0,0, free is any"}
    )

    name: ClassVar[str] = "patch"
    nearest: ClassVar[bool] = True
    sparse: ClassVar[bool] = False
    grain: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        check(self)
        if not isinstance(self.eps, Tensor) and self.eps != int(self.eps):
            raise OptionError(
                f"Patch: eps={self.eps!r}; allowed: whole numbers, the side of the square in pixels. "
                f"Pass eps={int(self.eps)} or eps={int(self.eps) + 1}."
            )
        if isinstance(self.place, Tensor):
            if self.place.ndim != 2 or self.place.shape[1] != 2 or self.place.dtype != torch.int64:
                raise OptionError(
                    f"Patch: place is {self.place.dtype} of shape {tuple(self.place.shape)}; allowed: int64 (N, 2), "
                    "row and column of each lane. Pass place=(row, column) for one place for all."
                )
        elif self.place not in ("corner", "free"):
            whole = isinstance(self.place, tuple) and all(type(at) is int and at >= 0 for at in self.place)
            if not whole or len(self.place) != 2:
                raise OptionError(
                    f"Patch: place={self.place!r}; allowed: 'corner', 'free', or row and column as whole numbers from "
                    "0 up. For the lower right corner name the last row and column."
                )

    @property
    def free(self) -> bool:
        """Whether the square may lie anywhere."""
        return isinstance(self.place, str) and self.place == "free"

    def corner(self, x: Tensor) -> Tensor | None:
        """(N, 2) int64: the upper left pixel of each lane's square, before it is moved back; None where it is free.

        Raises: `OptionError` for a place outside the pictures.
        """
        if self.free:
            return None
        if isinstance(self.place, Tensor):
            if len(self.place) != len(x):
                raise OptionError(
                    f"Patch: {len(self.place)} places for {len(x)} pictures; allowed: one place, or one a picture."
                )
            return self.place
        row, column = (0, 0) if isinstance(self.place, str) else self.place
        height, width = planes(x).shape[2:]
        if row >= height or column >= width:
            raise OptionError(
                f"Patch: place={row},{column} in pictures of {height} x {width}; allowed: rows 0 to {height - 1}, "
                f"columns 0 to {width - 1}. For the lower right corner, pass {height - 1},{width - 1}."
            )
        return torch.tensor([[row, column]], device=x.device).expand(len(x), 2)

    def size(self, delta: Tensor) -> Tensor:
        """The side of the smallest square, of those allowed, that covers each delta, (N,), in its dtype."""
        return extent((planes(delta) != 0).any(1), self.corner(delta)).to(delta.dtype)

    def steepest(self, grad: Tensor, x_adv: Tensor | None = None, limits: Limits | None = None) -> Tensor:
        """The gradient's sign within the square, in steps of box / `eps`; 0 elsewhere and for 0 and NaN.

        So a step that is a share of the radius moves values by that share of the box. Where the place is free, the
        square is the one of the largest sum of slopes times the room to the box, and values elsewhere move too,
        a tenth less: a search that is under way in another square goes on there, and one at its beginning is
        projected to the best.
        """
        slope = finite(grad)
        share = self._chosen(slope.abs() * self._room(slope, x_adv, limits), slope).to(slope.dtype)
        if self.free:
            share = ELSEWHERE + (1 - ELSEWHERE) * share
        radius = self._side(slope).clamp_min(1).to(slope.dtype)
        step = per_lane((self.high - self.low) / radius, slope)
        return (planes(slope).sign() * share).view_as(slope) * step

    def _room(self, slope: Tensor, x_adv: Tensor | None, limits: Limits | None) -> Tensor | float:
        """How far each value can go along its slope; 1 for all where that is not known."""
        if x_adv is None:
            return 1.0
        lower, upper = (self.low, self.high) if limits is None else limits
        return torch.where(slope > 0, upper - x_adv, x_adv - lower)

    def sample(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """Values uniform in [low, high] in the square; where it is free, at a place chosen at random."""
        value = (self.low + (self.high - self.low) * draws.uniform(x)).clamp(self.low, self.high)
        corner = self._anywhere(x, draws) if self.free else self.corner(x)
        assert corner is not None  # it is only where the place is free
        inside = square(corner, self._side(x), *planes(x).shape[2:])
        return torch.where(inside, planes(value), planes(x)).view_as(x)

    def edge(self, x: Tensor, draws: DrawsLike, limits: Limits | None = None) -> Tensor:
        """As `sample`, which changes a square of side `eps`."""
        return self.sample(x, draws, limits)

    def project(self, x_adv: Tensor, x: Tensor, limits: Limits | None = None, *, out: Tensor | None = None) -> Tensor:
        """The nearest point: `x_adv` cut to the box within the square, `x` elsewhere.

        A free square lies where that brings the point nearest, the first of equal places; a change that one square
        covers is left alone. Cost of a free one: sums over all squares.
        """
        lower, upper = self.limits(x) if limits is None else limits
        boxed = torch.clamp(x_adv, lower, upper)
        if not self.free:
            return boxed if out is None else out.copy_(boxed)
        reach = (boxed - x).abs()
        # What is gained by letting a value change, as a product that does not cancel: see L0.
        gain = reach * (reach + 2 * (x_adv - boxed).abs())
        # A change so small that its square vanishes is still one: points inside are told by their size.
        inside = self.size(boxed - x) <= self._side(x)
        kept = self._chosen(gain, x) | inside.view(-1, 1, 1, 1)
        return torch.where(kept.expand_as(planes(x)).reshape(x.shape), boxed, x, out=out)

    def reach(self, x: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """In the smallest square that suffices, all values move by the same share of their room.

        Its side is found by halving, since a larger square can do what a smaller one can.
        """
        way, room, weight = openings(x, finite(normal), gap, self.low, self.high)
        gain = planes((weight * room).view_as(x)).sum(1)
        height, width = gain.shape[1:]
        least = torch.ones_like(gap, dtype=torch.int64)
        most = torch.full_like(least, max(height, width))
        for _ in range(max(height, width).bit_length()):
            middle = (least + most) // 2
            enough = self._best_of(gain, middle, x)[1] >= gap.abs()
            least, most = torch.where(enough, least, (middle + 1).minimum(most)), torch.where(enough, middle, most)
        corner, total = self._best_of(gain, most, x)
        share = (gap.abs() / total.clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1).to(x.dtype)
        inside = square(corner, most, height, width) & (gap != 0).view(-1, 1, 1, 1)
        moved = (way * room).view_as(x) * per_lane(share, x)
        return torch.where(inside, planes(moved), 0.0).view_as(x)

    def dual(self, grad: Tensor) -> Tensor:
        """The largest sum of absolute values within a pixel, of those at the place, times the width of the box."""
        one = torch.ones(len(grad), dtype=torch.int64, device=grad.device)
        return self._best_of(planes(grad.abs()).sum(1), one, grad)[1].to(grad.dtype) * (self.high - self.low)

    def shorten(self, delta: Tensor, length: Tensor) -> Tensor:
        """What lies in the square of the largest sum of squares, of side `length` (between two whole numbers the larger
        one); 0 elsewhere."""
        side = length.ceil().long().to(delta.device)
        inside = (extent((planes(delta) != 0).any(1), self.corner(delta)) <= side).view(-1, 1, 1, 1)
        corner, _ = self._best_of(planes(delta.square()).sum(1), side, delta)
        kept = square(corner, side, *planes(delta).shape[2:]) | inside
        return torch.where(kept, planes(delta), 0.0).view_as(delta)

    def shrink(self, delta: Tensor, amount: Tensor) -> Tensor:
        """What lies in the best square, of the side that costs least in all. Cost: sums over squares of all sides."""
        energy = planes(delta.double().square()).sum(1)
        height, width = energy.shape[1:]
        none = torch.zeros(len(delta), dtype=torch.int64, device=delta.device)
        least, side = energy.sum((1, 2)) / 2, none
        for tried in range(1, max(height, width) + 1):
            rest = energy.sum((1, 2)) - self._best_of(energy, none + tried, delta)[1]
            cost = amount.to(least) * tried + rest / 2
            least, side = torch.minimum(least, cost), torch.where(cost < least, tried, side)
        corner, _ = self._best_of(energy, side, delta)
        return torch.where(square(corner, side, height, width), planes(delta), 0.0).view_as(delta)

    def limits(self, x: Tensor) -> Limits:
        """The whole box within the square, `x` elsewhere; the whole box everywhere where the place is free."""
        if self.free:
            return box_around(x, (self.eps >= 1) * (2 * (self.high - self.low)), self.low, self.high)
        inside = self._chosen(x, x).expand_as(planes(x)).reshape(x.shape)
        return torch.where(inside, self.low, x), torch.where(inside, self.high, x)

    def with_eps(self, eps: float | Tensor) -> "Patch":
        """The same box and place with another side."""
        return replace(self, eps=eps)

    def placed(self, x: Tensor, gradient: Tensor) -> "Patch":
        """A free patch at the place of each lane where a linear loss with that gradient gains most; else itself.

        For a model that is linear it is the best place of all.
        """
        if not self.free:
            return self
        room = torch.where(gradient > 0, self.high - x, x - self.low)
        gain = planes(room * finite(gradient).abs()).sum(1)
        return replace(self, place=best(gain, self._side(x))[0])

    def scattered(self, x: Tensor, draws: DrawsLike) -> "Patch":
        """A free patch at a random place of each lane, each as likely; else itself. As `sample` draws it."""
        return replace(self, place=self._anywhere(x, draws)) if self.free else self

    def _anywhere(self, x: Tensor, draws: DrawsLike) -> Tensor:
        """(N, 2) int64: random corners from which the square does not stick out."""
        chance = draws.uniform(x.new_empty(len(x), 2), stream=1)
        places = torch.stack([(room - self._side(x)).clamp_min(0) + 1 for room in planes(x).shape[2:]], 1)
        return (chance * places).long().minimum(places - 1)

    def _side(self, like: Tensor) -> Tensor:
        """(N,) int64: the side of each lane's square."""
        side = torch.as_tensor(self.eps, dtype=torch.float64, device=like.device).expand(len(like))
        return side.floor().long()

    def _chosen(self, gain: Tensor, like: Tensor) -> Tensor:
        """(N, 1, H, W) bool: the square at the place, or the one of the largest sum of `gain` (N, ...)."""
        corner = self.corner(like)
        if corner is None:
            corner, _ = best(planes(gain).sum(1), self._side(like))
        return square(corner, self._side(like), *planes(like).shape[2:])

    def _best_of(self, gain: Tensor, side: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Corner (N, 2) of the square of that side (N,) that may be taken and gains most of (N, H, W), and how much."""
        corner = self.corner(like)
        if corner is None:
            return best(gain, side)
        total = (square(corner, side, *gain.shape[1:])[:, 0] * gain.double()).sum((1, 2))
        return corner, total

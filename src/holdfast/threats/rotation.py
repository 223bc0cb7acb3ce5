"""The picture is turned and shifted."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import DataError, OptionError
from holdfast.threats.linf import Linf
from holdfast.threats.rendered import Border, check_border, check_eps, sampled, unmoved
from holdfast.threats.threat import check

__all__ = ["Rotation"]

WIDEST = 180.0


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """The picture turns about its centre by up to `eps` degrees, then moves by up to `eps` times `shift` of its sides.

    Parameters (3, 1, 1), all in degrees: the angle, positive against the clock; the shift down; the shift to the right,
    each `shift` of the side a degree. `eps` = 30 allows 30 degrees and a tenth of either side. A picture's size is its
    largest parameter.
    What comes in from outside is as `border`: the box's lowest value, as published, the nearest pixel, or the picture
    mirrored at its side. In between, values are interpolated linearly.
    Raises: `OptionError` unless low < high, 0 <= eps <= 180, 0 <= shift <= 1 (shape only for a tensor).
    Source: Engstrom et al. 2019, arXiv:1712.02779, sec. 2 and 3.
    """

    eps: float | Tensor  # degrees; or (N,), one a lane
    low: float = 0.0
    high: float = 1.0
    shift: float = field(default=1 / 300, metadata={"help": "shift a degree of eps, as a share of the side"})
    border: Border = field(default="black", metadata={"help": "what comes in from outside"})

    name: ClassVar[str] = "rotation"
    unit: ClassVar[str] = "degrees"
    grain: ClassVar[float] = 0.0
    sparse: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the options."""
        check(Linf(eps=0, low=self.low, high=self.high))
        check_eps("Rotation", self.eps, WIDEST, self.unit)
        check_border("Rotation", self.border)
        if not 0 <= self.shift <= 1:
            raise OptionError(
                f"Rotation: shift={self.shift!r}; allowed: 0 <= shift <= 1, the share of the side a degree. For a "
                "tenth of the side at eps=30, leave it out; for none, pass 0."
            )

    def ball(self, shape: tuple[int, ...]) -> Linf:
        """Each parameter by itself."""
        return Linf(eps=self.eps, low=-WIDEST, high=WIDEST)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Angle, shift down, shift to the right."""
        if len(shape) != 3:
            raise DataError(f"inputs of shape {tuple(shape)} cannot be turned; allowed: pictures (C, H, W).")
        return (3, 1, 1)

    def render(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Turn, then shift: each new pixel looks up where it comes from."""
        high, wide = x.shape[2:]
        angle, down, right = (part.to(x)[:, None, None] for part in parameters.flatten(1).unbind(1))
        rows = torch.arange(high, device=x.device, dtype=x.dtype)[:, None] - (high - 1) / 2 - self.shift * high * down
        columns = torch.arange(wide, device=x.device, dtype=x.dtype) - (wide - 1) / 2 - self.shift * wide * right
        turn = angle * (math.pi / 180)
        cosine, sine = turn.cos(), turn.sin()
        # Rows count downwards, so that against the clock a pixel to the right comes up.
        from_rows = cosine * rows + sine * columns + (high - 1) / 2
        from_columns = cosine * columns - sine * rows + (wide - 1) / 2
        return unmoved(sampled(x, from_rows, from_columns, self.border, self.low, self.high), x, parameters)

    def with_eps(self, eps: float | Tensor) -> "Rotation":
        """The same with another radius."""
        return replace(self, eps=eps)

"""Decoupled direction and norm: the gradient says where to, success or failure how far; small changes in L2."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import falling, furthest, towards, unit, usable
from holdfast.attacks.options import LossName, at_least, positive, share
from holdfast.errors import OptionError
from holdfast.lanes import column
from holdfast.losses import OBJECTIVES

FIRST_STEP, LAST_STEP = 1.0, 0.01  # lengths in input units


@dataclass(frozen=True)
class Ball:
    """How far from the picture a lane's point lies; one row a lane."""

    radius: Tensor  # (L,)
    furthest: Tensor  # (L,) no point of the box is further away


@dataclass(frozen=True, kw_only=True)
class DDN:
    """Step along the gradient, then go to a radius that shrinks after each success and grows after each failure.

    What the box cuts off is put back once: the change is brought to the radius, cut, brought to it and cut again,
    or many values at the side of the box would leave the point well short of its radius. A gradient of zero is
    replaced by a random direction.
    Cost: `steps` forward and backward passes a picture and one forward pass to look at the last point.
    Source: Rony et al. 2019, arXiv:1811.09600, algorithm 1; there every point is rounded to grey levels (`levels`).
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations a picture"})
    radius: float = field(default=1.0, metadata={"help": "the first radius, in input units"})
    gamma: float = field(default=0.05, metadata={"help": "share by which the radius shrinks or grows"})
    levels: int = field(default=0, metadata={"help": "round all points to so many grey levels, such as 256; 0: do not"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "ddn"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        at_least(self, 0, "levels")
        if self.levels == 1:
            raise OptionError("DDN: levels=1; allowed: 0, or a whole number from 2 up. For 8-bit pictures, levels=256.")
        positive(self, "radius")
        share(self, "gamma")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Ball, Query]:
        """Begin at the picture."""
        far = furthest(case)
        return Ball(torch.full_like(far, self.radius), far), Query(case.x, gradient_of=OBJECTIVES[self.loss])

    def step(self, case: Case, at: Ball, answer: Gradient) -> tuple[Ball, Query]:
        """Choose the radius by what was seen, step uphill, and go to that radius."""
        factor = torch.where(answer.reached, 1 - self.gamma, 1 + self.gamma).to(at.radius)
        radius = torch.minimum(at.radius * factor, at.furthest)
        length = falling(case, self.steps, FIRST_STEP, LAST_STEP)
        uphill = unit(case, usable(answer.gradient))
        move = uphill.mul_(column(length, uphill)).add_(answer.points).sub_(case.x)
        for _ in range(2):
            scale = radius / case.threat.size(move).clamp_min(torch.finfo(move.dtype).tiny)
            x_adv = towards(case, move.mul_(column(scale, move)))
            move = x_adv - case.x
        return Ball(radius, at.furthest), Query(self.rounded(case, x_adv), gradient_of=OBJECTIVES[self.loss])

    def rounded(self, case: Case, x_adv: Tensor) -> Tensor:
        """`x_adv`, which may be overwritten, at the nearest grey levels."""
        if not self.levels:
            return x_adv
        low, high = case.threat.low, case.threat.high
        unit = (high - low) / (self.levels - 1)
        return x_adv.sub_(low).div_(unit).round_().mul_(unit).add_(low).clamp_(low, high)

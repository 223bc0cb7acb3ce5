"""Fast minimum norm: gradient steps within a ball whose radius follows the boundary; in any norm."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import falling, furthest, longest, open_ways, stepped, towards, unit
from holdfast.attacks.options import at_least, positive, share
from holdfast.losses.objectives import margin

LAST_STEP = 0.01  # of the first step's length
WIDER = 1.2  # by what the radius grows at least, until the first success
TINY = 1e-12


@dataclass(frozen=True)
class Ball:
    """Where a lane looks; one row a lane."""

    radius: Tensor  # (L,)
    best: Tensor  # (L,) size of the smallest success so far; inf before there is one
    furthest: Tensor  # (L,) no point of the box is further away


@dataclass(frozen=True, kw_only=True)
class FMN:
    """Step along the gradient, then into a ball that is made smaller after each success and larger after a failure.

    Until its first success a lane's radius goes to where the linearised margin says the boundary is. A gradient counts
    only where the box lets a value move, and the radius grows by a fifth at least: with the whole gradient the
    distance is taken too short at pictures with values at 0 or 1, and a search may never come near the boundary.
    The point is cut to the box before it is brought into the ball, so that it uses the radius in full.
    The first step's length is in Euclidean units, times the longest that a move of size 1 can be: that is 1 in L0,
    L1 and L2, and the root of the number of values in Linf, where moves of length 1 are small.
    Cost: `steps` forward and backward passes a picture and one forward pass to look at the last point.
    Source: Pintor et al. 2021, arXiv:2102.12827, algorithm 1; there the distance ignores the box, and steps are as
    long in all norms.
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations a picture"})
    step_size: float = field(default=1.0, metadata={"help": "the first step's length, falling to a hundredth of it"})
    gamma: float = field(default=0.05, metadata={"help": "share by which the radius first shrinks or grows"})
    last_gamma: float = field(default=0.0001, metadata={"help": "share by which the radius shrinks or grows at last"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "fmn"
    minimal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        positive(self, "step_size")
        share(self, "gamma", "last_gamma")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Ball, Query]:
        """Begin at the picture."""
        far = furthest(case)
        return Ball(torch.zeros_like(far), torch.full_like(far, torch.inf), far), Query(case.x, gradient_of=margin)

    def step(self, case: Case, at: Ball, answer: Gradient) -> tuple[Ball, Query]:
        """Choose the radius by what was seen, step uphill, and go back within that radius."""
        slope = open_ways(case, answer.points, answer.gradient)
        at = self.followed(case, at, answer, slope)
        length = falling(case, self.steps, self.step_size, LAST_STEP * self.step_size) * longest(case)
        move = stepped(case, answer.points, unit(case, slope), length)
        x_adv = towards(case, case.threat.shorten(move, at.radius))
        return at, Query(x_adv, gradient_of=margin)

    def followed(self, case: Case, at: Ball, answer: Gradient, slope: Tensor) -> Ball:
        """The ball after an answer: smaller than a success, larger than a failure, never without the box."""
        gamma, grain = falling(case, self.steps, self.gamma, self.last_gamma), case.threat.grain
        here = case.threat.size(answer.points - case.x)
        best = torch.where(answer.reached, torch.minimum(at.best, here), at.best)
        smaller = torch.minimum(at.radius * (1 - gamma), best - grain)
        near = here + answer.loss.abs() / case.threat.dual(slope).clamp_min(TINY)
        near = torch.maximum(near, at.radius * WIDER)
        larger = torch.maximum(torch.where(best.isfinite(), at.radius * (1 + gamma), near), at.radius + grain)
        radius = torch.where(answer.reached, smaller, larger)
        return Ball(torch.minimum(radius, at.furthest), best, at.furthest)

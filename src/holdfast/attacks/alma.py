"""ALMA: the size of the change plus a penalty for the goal not being reached, with a multiplier that adapts itself."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import slope_of_size
from holdfast.attacks.options import at_least, share
from holdfast.attacks.stages import any_lane
from holdfast.lanes import column
from holdfast.losses import Goal
from holdfast.losses.objectives import margin
from holdfast.threats.threat import finite

FIRST_SIZE = {"l2": 0.1, "l1": 0.5}  # what the first step changes, by norm, in input units
LAST_STEP = 0.01  # of the first, where the decay ends
CHECK = 10  # steps between looks at whether the goal comes nearer
IMPROVED = 0.95  # it does if the distance to it is below this share of what it was
STIFFER = 1.2  # else the penalty parameter is multiplied by this
MULTIPLIERS = (1e-6, 1e12)
TOLERANCE = 1e-4  # by how many logits the goal must be passed
TINY = 1e-8


@dataclass(frozen=True)
class Lagrangian:
    """Where a lane is, one row a lane."""

    square: Tensor  # mean of squared gradients, like the pictures
    momentum: Tensor  # like the pictures
    length: Tensor  # (L,) the step size before its decay; 0 before a gradient was seen
    multiplier: Tensor  # (L,) the paper's mu
    stiffness: Tensor  # (L,) the paper's rho
    before: Tensor  # (L,) the constraint at the last check
    found: Tensor  # (L,) int64, steps taken before the first success; steps + 1 before it


@dataclass(frozen=True, kw_only=True)
class ALMA:
    """Descend size + penalty(constraint), a Lagrangian whose multiplier follows the constraint step by step.

    The constraint is minus the margin over a gap of the logits (DLR), at most 0 where the goal is reached. The
    penalty is the paper's P2. The multiplier is smoothed exponentially, as are squares and momentum of the gradient
    by which a step is scaled (RMSprop). The step decays to a hundredth from the first success on. The first
    one changes the picture by 0.1 in L2 and 0.5 in L1; its length is found by a few fixed-point steps within the box
    instead of by halving. With 100 steps the paper has a `smoothing` of 0.5.
    Cost: `steps` forward and backward passes a lane and a forward pass to look at the last point.
    Source: Rony, Granger, Pedersoli & Ben Ayed 2021, arXiv:2011.11857, algorithm 1 with its constants.
    """

    steps: int = field(default=1000, metadata={"help": "gradient evaluations a picture"})
    smoothing: float = field(default=0.9, metadata={"help": "share of old values in averages; the paper's alpha"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "alma"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = tuple(FIRST_SIZE)

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        share(self, "smoothing")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Lagrangian, Query]:
        """Begin at the picture."""
        zero = torch.zeros_like(case.x.flatten(1)[:, 0])
        at = Lagrangian(
            square=torch.ones_like(case.x),
            momentum=torch.zeros_like(case.x),
            length=zero,
            multiplier=zero + 1,
            stiffness=zero + 1,
            before=zero,
            found=torch.full_like(case.round, self.steps + 1),
        )
        return at, Query(case.x, gradient_of=short_by)

    def step(self, case: Case, at: Lagrangian, answer: Gradient) -> tuple[Lagrangian, Query]:
        """A step down the Lagrangian, cut to the box."""
        taken = case.round - 1
        constraint = -answer.loss.nan_to_num()
        on = self.adapted(at, taken, constraint, answer.reached)
        slope = penalty_slope(constraint, on.stiffness, on.multiplier)
        # Objectives rise towards the goal, so the penalty's gradient is minus this.
        downhill = slope_of_size(case.threat, answer.points - case.x)
        downhill.addcmul_(finite(answer.gradient), column(slope, downhill), value=-1)
        length = first_length(case, on.length, downhill)
        decay = LAST_STEP ** ((taken - on.found).clamp_min(0).double() / (self.steps - on.found))
        on.square.mul_(self.smoothing).addcmul_(downhill, downhill, value=1 - self.smoothing)
        on.momentum.mul_(self.smoothing).addcdiv_(downhill, on.square.sqrt().add_(TINY))
        x_adv = torch.addcmul(answer.points, on.momentum, column((length * decay).to(downhill), downhill), value=-1)
        parts = {**vars(on), "length": length}
        return Lagrangian(**parts), Query(x_adv.clamp_(case.threat.low, case.threat.high), gradient_of=short_by)

    def adapted(self, at: Lagrangian, taken: Tensor, constraint: Tensor, reached: Tensor) -> Lagrangian:
        """The multiplier, and at a check the stiffness, after what was seen; `taken` (L,) steps before."""
        first, due = taken == 0, (taken + 1) % CHECK == 0
        stuck = due & ~first & (at.found > self.steps) & (constraint >= IMPROVED * at.before)
        stiffness = torch.where(stuck, STIFFER * at.stiffness, at.stiffness)
        wanted = penalty_slope(constraint, stiffness, at.multiplier)
        multiplier = at.multiplier.lerp(wanted, 1 - self.smoothing).clamp_(*MULTIPLIERS)
        return Lagrangian(
            at.square,
            at.momentum,
            at.length,
            multiplier=torch.where(first, at.multiplier, multiplier),
            stiffness=stiffness,
            before=torch.where(first | due, constraint, at.before),
            found=torch.where(reached, torch.minimum(at.found, taken), at.found),
        )


def short_by(logits: Tensor, goal: Goal) -> Tensor:
    """Minus the constraint: the margin beyond the goal's confidence over a gap of the logits; (P,).

    The gap is that of the DLR loss (`holdfast.losses.formulas`), but the lead is over all other classes.
    """
    ranks = 4 if goal.targeted else 3
    top = logits.topk(min(ranks, logits.shape[1])).values
    few = logits.shape[1] < ranks  # then the ratio would be 1 or -1 whatever the picture, its gradient 0
    gap = (top[:, 0] - top[:, -1]).detach() if few else top[:, 0] - top[:, 2:].mean(1)
    lead = margin(logits, goal) - goal.confidence - TOLERANCE
    return lead / (gap + TINY)


def penalty_slope(y: Tensor, stiffness: Tensor, multiplier: Tensor) -> Tensor:
    """(L,): how fast P2 rises with the constraint `y`.

    P2 is mu y + mu rho y^2 + rho^2 y^3 / 6 above 0 and mu y / (1 - rho y) below.
    """
    above, below = y.clamp_min(0), y.clamp_max(0)
    steep = multiplier + 2 * multiplier * stiffness * above + (stiffness * above).square() / 2
    return torch.where(y >= 0, steep, multiplier / (1 - stiffness * below).square())


def first_length(case: Case, length: Tensor, downhill: Tensor) -> Tensor:
    """(L,) `length`, where it is 0 the one by which a step along `downhill` changes the picture by the norm's size.

    The change over the length falls as the length grows, since the box stops ever more values. So dividing by it
    over and over comes from below and never passes.
    """
    fresh = length == 0
    if not any_lane(fresh):
        return length
    threat, wanted = case.threat, FIRST_SIZE[case.threat.name]
    tiny = torch.finfo(length.dtype).tiny ** 0.5
    found = wanted / threat.size(downhill).clamp_min(tiny)
    for _ in range(4):
        moved = torch.addcmul(case.x, downhill, column(found, downhill), value=-1).clamp_(threat.low, threat.high)
        found = found * (wanted / threat.size(moved.sub_(case.x)).clamp_min(tiny)).clamp_(1, 10)
    possible = (downhill != 0).flatten(1).any(1)
    return torch.where(fresh & possible, found, length)

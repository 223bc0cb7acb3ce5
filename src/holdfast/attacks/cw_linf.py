"""Carlini & Wagner's attack in Linf: only changes beyond a level are penalised, and the level falls."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.penalty import Adam
from holdfast.lanes import column
from holdfast.losses.objectives import margin

SHRINK = 0.9  # of the level, after a success within it
GROWTH = 2.0  # of the weight, after a failure


@dataclass(frozen=True, kw_only=True)
class CWLinf:
    """Minimise c max(kappa - margin, 0) + sum of max(|delta_i| - tau, 0) by Adam, with tau falling for each picture.

    Whenever the goal is reached with no change above tau, tau falls to 0.9 of the largest change, and the search goes
    on from there. When `patience` steps have not led to that, c is doubled; then, which is ours, tau also rises
    half of the way (of its logarithm) back to the smallest success, instead of staying. kappa is the goal's confidence.
    Also ours: steps are in units of tau, since a fixed step cannot resolve a small one; and Adam moves the picture
    itself, cut to the box, where the source moves its inverse hyperbolic tangent, at the ends of which, at exactly
    0 and 1, nothing moves.
    Cost: `steps` forward and backward passes, and a forward pass.
    Source: Carlini & Wagner 2017, arXiv:1608.04644, sec. VI.C.
    """

    steps: int = field(default=500, metadata={"help": "gradient evaluations a picture"})
    patience: int = field(default=20, metadata={"help": "steps without success after which c is doubled"})
    first_c: float = field(default=1.0, metadata={"help": "the first weight of the goal"})
    step_size: float = field(default=0.1, metadata={"help": "Adam's, in units of the level"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "cw-linf"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "patience")
        positive(self, "first_c", "step_size")

    @property
    def rounds(self) -> int:
        """The steps, and a look at where the last led."""
        return self.steps + 1

    def start(self, case: Case) -> "tuple[Level, Query]":
        """Begin at the picture, with the whole box within the level."""
        width = torch.full_like(case.x.flatten(1)[:, 0], case.threat.high - case.threat.low)
        at = Level(
            Adam.fresh(case.x), width, width, torch.full_like(width, SHRINK), width * 0 + self.first_c, case.round
        )
        return at, Query(case.x, gradient_of=margin)

    def step(self, case: Case, at: "Level", answer: Gradient) -> "tuple[Level, Query]":
        """One of Adam's steps, with the level and weight that the last answer leaves."""
        delta = answer.points - case.x
        at = self.judged(at, case.threat.size(delta), answer.reached)
        outside = delta.sub_(delta.clamp(column(-at.tau, delta), column(at.tau, delta))).sign_()
        c = column(at.c * ~answer.reached, delta)
        downhill = usable(outside.sub_(c * answer.gradient))
        adam, move = at.adam.descend(downhill, self.step_size * at.tau)
        x_adv = move.add_(answer.points).clamp_(case.threat.low, case.threat.high)
        return replace(at, adam=adam), Query(x_adv, gradient_of=margin)

    def judged(self, at: "Level", size: Tensor, reached: Tensor) -> "Level":
        """The level after an answer: lower after a success within it, nearer to the best one after long failure."""
        best = torch.where(reached, size.minimum(at.best), at.best)
        won = reached & (size <= at.tau)
        failed = ~won & (at.tried + 1 >= self.patience)
        shrink = torch.where(failed, at.shrink.sqrt(), at.shrink)
        tau = torch.where(won | failed, best * shrink, at.tau)
        tried = torch.where(won | failed, 0, at.tried + 1)
        return Level(at.adam, tau, best, shrink, torch.where(failed, GROWTH * at.c, at.c), tried)


@dataclass(frozen=True)
class Level:
    """Where a lane is."""

    adam: Adam
    tau: Tensor  # (L,) changes up to here cost nothing
    best: Tensor  # (L,) the smallest success; the width of the box before
    shrink: Tensor  # (L,) tau over best
    c: Tensor  # (L,) weight of the goal
    tried: Tensor  # (L,) int64: steps with this tau and c

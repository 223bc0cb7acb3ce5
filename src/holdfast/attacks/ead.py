"""Elastic-net attack: proximal steps on the squared and the absolute change, the weight searched for each picture."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, not_negative, positive
from holdfast.attacks.penalty import Progress, Weight, pull
from holdfast.attacks.stages import any_lane
from holdfast.lanes import choose, column
from holdfast.losses.objectives import margin


@dataclass(frozen=True, kw_only=True)
class EAD:
    """Minimise c max(kappa - margin, 0) + |delta|_2^2 + beta |delta|_1 by FISTA, bisecting c for each picture.

    A step goes down the gradient of the smooth part, takes changes up to `beta` back to nothing and shortens the
    others by as much, cuts to the box, and then goes on by k / (k + 3) of the way from the last such point. Steps
    shrink with the square root of what is left of a search. c is ten times as large from search to search until the
    goal is reached, then half way between failure and success. kappa is the goal's confidence.
    Here the smallest success in the threat's norm is kept, which is the L1 decision rule for the threat L1; a question
    is asked about the point gone on to, cut to the box, and not a second one about the point before that. A search of
    a picture ends early where its own loss has not fallen for a tenth of the steps, whatever other pictures do.
    Cost: at most `steps` times `searches` forward and backward passes, and a forward pass.
    Source: Chen et al. 2018, arXiv:1709.04114, sec. 4 and algorithm 1.
    """

    steps: int = field(default=100, metadata={"help": "steps with each weight"})
    searches: int = field(default=9, metadata={"help": "weights tried a picture"})
    first_c: float = field(default=1e-3, metadata={"help": "the first weight of the goal"})
    step_size: float = field(default=0.01, metadata={"help": "of the first step, times the gradient"})
    beta: float = field(default=1e-3, metadata={"help": "weight of the absolute change, and what a step takes off"})
    abort_early: bool = field(default=True, metadata={"help": "end a search whose loss no longer falls"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "ead"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l1", "l2")

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "searches")
        positive(self, "first_c", "step_size")
        not_negative(self, "beta")

    @property
    def rounds(self) -> int:
        """The most steps of all searches, and a look at the last point."""
        return self.steps * self.searches + 1

    def start(self, case: Case) -> "tuple[Sparse, Query]":
        """Begin at the picture."""
        at = Sparse(case.x, Progress.fresh(case.x), Weight.first(case.x, self.first_c))
        return at, Query(case.x, gradient_of=margin, over=torch.zeros_like(at.progress.won))

    def step(self, case: Case, at: "Sparse", answer: Gradient) -> "tuple[Sparse, Query]":
        """One proximal step, or the first of the next search."""
        downhill, loss = pull(case, answer, at.weight.value)
        near = self.shrunk(case, answer.points, downhill, at.progress.taken)
        k = at.progress.taken.to(near)
        ahead = torch.lerp(at.last, near, column(1 + k / (k + 3), near)).clamp_(case.threat.low, case.threat.high)
        loss = loss + self.beta * (answer.points - case.x).flatten(1).abs().sum(1)
        progress, due = at.progress.after(loss, answer.reached, self.steps, abort=self.abort_early)
        weight, over = at.weight, torch.zeros_like(due)
        if any_lane(due):
            weight = weight.next(progress.won, due)
            over = weight.searches >= self.searches
            again = due & ~over
            progress = progress.restarted(due)
            near, ahead = choose(again, (case.x, case.x), (near, ahead))
        return Sparse(near, progress, weight), Query(ahead, gradient_of=margin, over=over)

    def shrunk(self, case: Case, x_adv: Tensor, downhill: Tensor, taken: Tensor) -> Tensor:
        """The point after a step: changes are `beta` shorter, none where they are no longer than that."""
        length = self.step_size * (1 - taken.to(x_adv) / self.steps).sqrt()
        delta = (x_adv - case.x).sub_(downhill.mul_(column(length, x_adv)))
        delta = delta.sub_(delta.clamp(-self.beta, self.beta))
        return delta.add_(case.x).clamp_(case.threat.low, case.threat.high)


@dataclass(frozen=True)
class Sparse:
    """Where a lane is."""

    last: Tensor  # the last point that a proximal step led to
    progress: Progress
    weight: Weight

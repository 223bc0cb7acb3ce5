"""Gradient descent on the size of the change plus a weight times the others' lead, neither squared nor cut off."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import slope_of_size, usable
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.penalty import Progress, Weight
from holdfast.attacks.stages import any_lane
from holdfast.lanes import choose, column
from holdfast.losses.objectives import margin


@dataclass(frozen=True, kw_only=True)
class Regularised:
    """Descend size(x - x0) + weight * (max over j != t of f_j - f_t) from the picture x0, with one weight or several.

    Without a target, f_t is the highest logit of the other classes and the label's takes the place of the maximum.
    The size is the threat's own, its gradient taken by autograd (and 0 where nothing is changed), so that a threat of
    the user's, with any distance as its `size`, serves too; L0 has no gradient. The margin is not cut off: with too
    large a weight a picture runs on past the boundary, with too small a one it never leaves. The smallest success on
    the way is kept. As the size is not squared its pull is as strong near the picture as far from it.
    Ours: with `searches` above 1 each picture tries further weights, ten times as large until the goal is reached,
    then half way between failure and success. Points are cut to the box.
    Cost: `steps` times `searches` forward and backward passes, and a forward pass.
    Source: the form common to attacks by optimisation in teaching, e.g. as the general case beside Carlini & Wagner
    2017, arXiv:1608.04644, sec. V, whose size is squared and whose margin is cut off.
    """

    steps: int = field(default=100, metadata={"help": "steps with each weight"})
    weight: float = field(default=1.0, metadata={"help": "the (first) weight of the goal: the source's lambda"})
    searches: int = field(default=9, metadata={"help": "weights tried a picture; 1 for the given one alone"})
    step_size: float = field(default=0.01, metadata={"help": "of a step, times the gradient"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "regularised"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "searches")
        positive(self, "weight", "step_size")

    @property
    def rounds(self) -> int:
        """The steps with all weights, and a look at where the last led."""
        return self.steps * self.searches + 1

    def start(self, case: Case) -> "tuple[Walk, Query]":
        """Begin at the picture."""
        return Walk(Progress.fresh(case.x), Weight.first(case.x, self.weight)), Query(case.x, gradient_of=margin)

    def step(self, case: Case, at: "Walk", answer: Gradient) -> "tuple[Walk, Query]":
        """One step downhill, or back at the picture with the next weight."""
        uphill = column(at.weight.value, answer.points) * answer.gradient
        downhill = usable(slope_of_size(case.threat, answer.points - case.x).sub_(uphill))
        x_adv = torch.sub(answer.points, downhill, alpha=self.step_size).clamp_(case.threat.low, case.threat.high)
        progress, due = at.progress.after(answer.loss, answer.reached, self.steps, abort=False)
        weight = at.weight
        if any_lane(due):
            weight = weight.next(progress.won, due)
            progress = progress.restarted(due)
            x_adv = choose(due & (weight.searches < self.searches), case.x, x_adv)
        return Walk(progress, weight), Query(x_adv, gradient_of=margin)


@dataclass(frozen=True)
class Walk:
    """Where a lane is, beside its point."""

    progress: Progress
    weight: Weight

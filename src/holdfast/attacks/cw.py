"""Carlini & Wagner's attack in L2: Adam on the squared change and the margin, the weight searched for each picture."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.penalty import Adam, Progress, Weight, pull
from holdfast.attacks.stages import any_lane
from holdfast.lanes import choose
from holdfast.losses.objectives import margin

STRETCH = 0.9  # the sides of the box are at this hyperbolic tangent, not at infinity, from where nothing would move


@dataclass(frozen=True, kw_only=True)
class CW:
    """Minimise |delta|^2 + c max(kappa - margin, 0) by Adam, with a bisection of c for each picture.

    c is ten times as large from search to search until the goal is reached, then half way between failure and
    success; kappa is the goal's confidence. With `abort_early` a picture's search ends where its own loss has not
    fallen for a tenth of the steps, whatever other pictures do.
    `box` keeps the picture between its bounds: `project` moves it and cuts it; `tanh` moves w in
    x_adv = middle + half width * tanh(w) / 0.9, cut, since with the source's tanh(w) alone, values at exactly 0 or 1
    lie where the slope is about 0 and do not move in any number of steps.
    Ours: within a search steps shrink in proportion to what is left of it, since Adam's steps are of one length however
    near the boundary is, which a fixed one passes by as much.
    The next search goes on from where the last one ended, with Adam's moments (`restart` begins at the picture again,
    as the source does): with few steps a search this finds smaller changes.
    Cost: at most `steps` times `searches` forward and backward passes, and a forward pass.
    Source: Carlini & Wagner 2017, arXiv:1608.04644, sec. V and VI.A; the schedule of c as in the authors' code.
    """

    steps: int = field(default=100, metadata={"help": "steps with each weight"})
    searches: int = field(default=9, metadata={"help": "weights tried a picture"})
    first_c: float = field(default=1e-3, metadata={"help": "the first weight of the goal"})
    step_size: float = field(default=0.01, metadata={"help": "of the first step of a search"})
    box: Literal["project", "tanh"] = field(default="project", metadata={"help": "how values keep to the box"})
    restart: bool = field(default=False, metadata={"help": "begin each search at the picture"})
    abort_early: bool = field(default=False, metadata={"help": "end a search whose loss no longer falls"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "cw"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "searches")
        positive(self, "first_c", "step_size")

    @property
    def rounds(self) -> int:
        """The most steps of all searches, and a look at where the last led."""
        return self.steps * self.searches + 1

    def start(self, case: Case) -> "tuple[Descent, Query]":
        """Begin at the picture."""
        at = Descent(self.inner(case), Adam.fresh(case.x), Progress.fresh(case.x), Weight.first(case.x, self.first_c))
        return at, self.question(case.x, torch.zeros_like(at.progress.won))

    def step(self, case: Case, at: "Descent", answer: Gradient) -> "tuple[Descent, Query]":
        """One of Adam's steps, or the first of the next search."""
        downhill, loss = pull(case, answer, at.weight.value)
        if at.w is not None:
            downhill.mul_(slope(case, at.w))
        left = 1 - at.progress.taken.to(loss) / self.steps
        adam, move = at.adam.descend(downhill, self.step_size * left)
        place = move.add_(answer.points if at.w is None else at.w)
        progress, due = at.progress.after(loss, answer.reached, self.steps, abort=self.abort_early)
        weight, over = at.weight, torch.zeros_like(due)
        if any_lane(due):
            weight, progress = weight.next(progress.won, due), progress.restarted(due)
            over = weight.searches >= self.searches
            if self.restart:
                w = self.inner(case)
                fresh = (case.x if w is None else w, Adam.fresh(case.x))
                place, adam = choose(due & ~over, fresh, (place, adam))
        x_adv = place if at.w is None else outer(case, place)
        if self.restart and any_lane(due):
            x_adv = choose(due & ~over, case.x, x_adv)  # to the bit, which the detour by `w` would not give
        on = Descent(None if at.w is None else place, adam, progress, weight)
        return on, self.question(x_adv.clamp_(case.threat.low, case.threat.high), over)

    def inner(self, case: Case) -> Tensor | None:
        """The w that stands for the pictures; None where they are moved themselves."""
        if self.box == "project":
            return None
        half = (case.threat.high - case.threat.low) / 2
        return ((case.x - case.threat.low) / half - 1).mul_(STRETCH).atanh_()

    def question(self, x_adv: Tensor, over: Tensor) -> Query:
        """How far the goal is, and its gradient."""
        return Query(x_adv, gradient_of=margin, over=over)


@dataclass(frozen=True)
class Descent:
    """Where a lane is, beside its point."""

    w: Tensor | None  # what Adam moves, where that is not the point itself
    adam: Adam
    progress: Progress
    weight: Weight


def outer(case: Case, w: Tensor) -> Tensor:
    """The picture that `w` stands for, before it is cut to the box."""
    half = (case.threat.high - case.threat.low) / 2
    return w.tanh().mul_(half / STRETCH).add_(case.threat.low + half)


def slope(case: Case, w: Tensor) -> Tensor:
    """The derivative of `outer`."""
    return w.tanh().square_().sub_(1).mul_(-(case.threat.high - case.threat.low) / 2 / STRETCH)

"""Fast Adaptive Boundary: steps to the linearised boundary that stay near the picture; finds small changes."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Jacobian, Query, Scores
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least
from holdfast.attacks.stages import any_lane
from holdfast.lanes import choose, column, take
from holdfast.losses.objectives import margin

OVERSHOOT = 1.05  # how far past the plane a step goes
MOST_PULL = 0.1  # the largest weight of the picture's own step
BACK = 0.9  # share of the change that is kept after a success
TINY = 1e-8


@dataclass(frozen=True, kw_only=True)
class FAB:
    """Step onto the nearest class's linearised boundary from the point and from the picture, and mix the two.

    A boundary is nearest by the difference of logits over the dual norm of its gradient. The step is the smallest in
    the threat's norm that reaches the plane within the box, five per cent longer; the mix leans towards the picture by
    at most a tenth, by the share of the two lengths. After a success outside the best so far the point goes back a
    tenth of the way, and on. It knows no radius, so that its points may lie outside, where they do not count.
    Restarts after the first begin at a random point half the radius away, or as far as the linearised boundary if that
    is nearer: a radius may be the whole box. Published is half the smallest size found so far, or half the radius.
    Cost: for each step two forward and K - 1 backward passes, K being the number of classes, or one backward pass with
    a target: a point is looked at first, since most succeed and are drawn back before a gradient is wanted.
    Source: Croce & Hein 2020, arXiv:1907.02044, algorithm 1 with its constants.
    """

    steps: int = field(default=100, metadata={"help": "steps to the boundary a picture and restart"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.JACOBIAN
    name: ClassVar[str] = "fab"
    minimal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "restarts")

    @property
    def rounds(self) -> int:
        """A question a step and a look at where it leads."""
        return 2 * self.steps

    def start(self, case: Case) -> tuple[Tensor, Query]:
        """Begin at the picture."""
        return torch.zeros_like(case.round), self.question(case, case.x)

    def step(self, case: Case, taken: Tensor, answer: Scores) -> tuple[Tensor, Query]:
        """One step onto the nearest boundary; or, after a look at where it led, back a little from a success.

        `taken` (L,) int64: steps so far.
        """
        if isinstance(answer, Jacobian | Gradient):
            x_adv = departed(case, taken, answer.points, *nearest(case, answer, others(case)))
            return taken + 1, Query(x_adv, over=taken + 1 >= self.steps)
        return taken, self.question(case, drawn_back(case, taken, answer))

    def question(self, case: Case, x_adv: Tensor) -> Query:
        """How far every other class leads."""
        return leads(case, x_adv, others(case))


def departed(case: Case, taken: Tensor, x_adv: Tensor, ahead: Tensor, normal: Tensor) -> Tensor:
    """The point after `x_adv`; after the picture itself, in lanes from the second restart on, a random one.

    It is half the radius away, but no further than the boundary seems: `ahead` and `normal` as in `moved`.
    """
    again = case.draws.restart
    assert again is not None  # filled in by `Draws` itself
    first = (again > 0) & (taken == 0)
    on = moved(case, x_adv, ahead, normal)
    if not any_lane(first):
        return on
    ahead, normal = usable(ahead), usable(normal)
    near = case.threat.size(case.threat.reach(x_adv, normal, -ahead))
    start = replace(case, threat=case.threat.with_eps(torch.minimum(near, near.new_tensor(0) + case.threat.eps / 2)))
    return choose(first, replace(start, limits=start.threat.limits(case.x)).edge(), on)


def moved(case: Case, x_adv: Tensor, ahead: Tensor, normal: Tensor) -> Tensor:
    """The point after `x_adv`, where the wanted class leads by `ahead` (L,), below 0 so far, and gains by `normal`."""
    ahead, normal = usable(ahead), usable(normal)
    here = case.threat.reach(x_adv, normal, -ahead)
    offset = (normal * (case.x - x_adv)).flatten(1).sum(1)
    home = case.threat.reach(case.x, normal, -ahead - offset)
    near, far = (case.threat.size(part).clamp_min(TINY) for part in (here, home))
    pull = (near / (near + far)).clamp_max(MOST_PULL)
    pull = column(pull, case.x)
    mixed = torch.lerp(x_adv.add(here, alpha=OVERSHOOT), case.x.add(home, alpha=OVERSHOOT), pull)
    return mixed.clamp_(case.threat.low, case.threat.high)


def drawn_back(case: Case, taken: Tensor, answer: Scores) -> Tensor:
    """The points asked about, but a tenth of the way back where they reach the goal; not before the first step."""
    back = torch.lerp(case.x, answer.points, BACK)
    return choose(answer.reached & (taken > 0), back, answer.points)


def others(case: Case) -> Tensor:
    """(L, K - 1) int64: every class but the label."""
    assert case.logits is not None  # shown to all that may see scores
    classes = case.logits.shape[1]
    return (case.goal.y[:, None] + torch.arange(1, classes, device=case.round.device)) % classes


def leads(case: Case, x_adv: Tensor, classes: Tensor) -> Query:
    """How far each of the `classes` (L, M) leads the label, with gradients; with a target, how far that leads all."""
    if case.goal.target is not None:
        return Query(x_adv, gradient_of=margin)
    return Query(x_adv, classes=classes, against=case.goal.y)


def nearest(case: Case, answer: Jacobian | Gradient, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The answer to `leads` for one class: its lead (L,) and its gradient, where the linearised boundary is nearest.

    Leads count from the confidence that is wanted.
    """
    confidence = case.goal.confidence
    if isinstance(answer, Gradient):
        return answer.loss - confidence, answer.gradient
    lane = torch.arange(len(classes), device=classes.device)
    lead = answer.logits.gather(1, classes) - answer.logits.gather(1, case.goal.y[:, None]) - confidence
    each = take(case.threat, lane.repeat_interleave(lead.shape[1]))
    steep = each.dual(answer.jacobian.flatten(0, 1)).view_as(lead)
    best = (lead.abs() / steep.clamp_min(TINY)).nan_to_num(nan=torch.inf).argmin(1)
    return lead[lane, best], answer.jacobian[lane, best]

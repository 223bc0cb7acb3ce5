"""Fast Adaptive Boundary: steps to the linearised boundary that stay near the picture; finds small changes."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Jacobian, Query, Scores
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.lanes import choose, column

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
    Restarts after the first begin at a random point half the radius away.
    Cost: for each step two forward and K backward passes, K being the number of classes, and a forward pass more a
    lane: a point is looked at first, since most succeed and are drawn back before a gradient is wanted.
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
        """A look for the number of classes, then a question a step and a look at where it leads."""
        return 2 * self.steps + 1

    def start(self, case: Case) -> tuple[Tensor, Query]:
        """Begin at the picture, or half way to the edge; the first answer tells how many classes there are."""
        return torch.zeros_like(case.round), Query(begin(case, self.restarts))

    def step(self, case: Case, taken: Tensor, answer: Scores) -> tuple[Tensor, Query]:
        """One step onto the nearest boundary; or, after a look at where it led, back a little from a success.

        `taken` (L,) int64: steps so far.
        """
        if isinstance(answer, Jacobian):
            x_adv = moved(case, answer.points, *nearest(case, answer))
            return taken + 1, Query(x_adv, over=taken + 1 >= self.steps)
        classes = torch.arange(answer.logits.shape[1], device=case.round.device).expand(len(case.round), -1)
        return taken, Query(drawn_back(case, taken, answer), classes=classes)


def begin(case: Case, restarts: int) -> Tensor:
    """The picture; from the second restart on a random point half way to the edge."""
    again = case.draws.restart
    assert again is not None  # filled in by `Draws` itself
    if restarts == 1:
        return case.x
    return choose(again > 0, case.x + (case.edge() - case.x) / 2, case.x)


def moved(case: Case, x_adv: Tensor, ahead: Tensor, normal: Tensor) -> Tensor:
    """The point after `x_adv`, where the wanted class leads by `ahead` (L,), below 0 so far, and gains by `normal`."""
    ahead, normal = (part.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for part in (ahead, normal))
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


def nearest(case: Case, answer: Jacobian) -> tuple[Tensor, Tensor]:
    """The lead (L,) and its gradient, of the class whose linearised boundary is nearest; of the target, if any.

    A target has to overtake the class that leads.
    """
    goal, logits, rows = case.goal, answer.logits, answer.jacobian
    lane = torch.arange(len(logits), device=logits.device)
    own = goal.y if goal.target is None else goal.target
    others = logits.scatter(1, own[:, None], -torch.inf)
    if goal.target is not None:
        rival = others.argmax(1)
        return logits[lane, own] - logits[lane, rival], rows[lane, own] - rows[lane, rival]
    lead = others - logits[lane, own][:, None]
    normal = rows - rows[lane, own][:, None]
    steep = torch.stack([case.threat.dual(part) for part in normal.unbind(1)], 1)
    best = (lead.abs() / steep.clamp_min(TINY)).argmin(1)
    return lead[lane, best], normal[lane, best]

"""Carlini & Wagner's attack in L2 on a classifier and its detector: two weights, both searched for each picture."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.penalty import Adam, Progress, Weight
from holdfast.attacks.stages import any_lane
from holdfast.lanes import column
from holdfast.losses.evasion import MISLEAD, SLIP


@dataclass(frozen=True, kw_only=True)
class EvasiveCW:
    """Minimise |delta|^2 + c max(kappa - mislead, 0) + d max(kappa - slip, 0) by Adam; c and d are searched.

    `mislead` is the classifier's margin, `slip` how far the suspicion is under the threshold, in units of logits;
    kappa is the confidence asked for. For each picture, a search that never misled the classifier raises c, one that
    misled it but was caught raises d; after a success both are halved between failure and success, as `cw` does with
    its one. The search goes on from where the last one ended.
    Cost: at most `steps` times `searches` forward and twice as many backward passes, and a forward pass.
    Source: Carlini & Wagner 2017, arXiv:1705.07263 (the loss against detectors), on arXiv:1608.04644 (the attack); that
    each part has a weight of its own, and how they are searched, is ours.
    """

    steps: int = field(default=100, metadata={"help": "steps with each pair of weights"})
    searches: int = field(default=12, metadata={"help": "pairs of weights tried a picture"})
    first_c: float = field(default=1e-2, metadata={"help": "the first weight of misleading the classifier"})
    first_d: float = field(default=1e-2, metadata={"help": "the first weight of passing the detector"})
    step_size: float = field(default=0.01, metadata={"help": "of the first step of a search"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "evasive-cw"
    minimal: ClassVar[bool] = True
    guarded: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "searches")
        positive(self, "first_c", "first_d", "step_size")

    @property
    def rounds(self) -> int:
        """The most steps of all searches, and a look at where the last led."""
        return self.steps * self.searches + 1

    def start(self, case: Case) -> "tuple[Search, Query]":
        """Begin at the picture."""
        none = torch.zeros(len(case.x), dtype=torch.int64, device=case.x.device)
        at = Search(
            Adam.fresh(case.x),
            Progress.fresh(case.x),
            none > 0,
            Weight.first(case.x, self.first_c),
            Weight.first(case.x, self.first_d),
            none,
        )
        return at, Query(case.x, gradient_of=(MISLEAD, SLIP), over=none > 0)

    def step(self, case: Case, at: "Search", answer: Gradient) -> "tuple[Search, Query]":
        """One of Adam's steps, or the first of the next search."""
        downhill, loss = pulls(case, answer, at.c.value, at.d.value)
        left = 1 - at.progress.taken.to(loss) / self.steps
        adam, move = at.adam.descend(downhill, self.step_size * left)
        progress, due = at.progress.after(loss, answer.reached, self.steps, abort=False)
        misled = at.misled | (answer.losses[0] > case.goal.confidence)
        c, d, searches = at.c, at.d, at.searches
        if any_lane(due):
            c = c.next(progress.won, due & (progress.won | ~misled))
            d = d.next(progress.won, due & (progress.won | misled))
            searches = searches + due.long()
            progress, misled = progress.restarted(due), misled & ~due
        x_adv = move.add_(answer.points).clamp_(case.threat.low, case.threat.high)
        on = Search(adam, progress, misled, c, d, searches)
        return on, Query(x_adv, gradient_of=(MISLEAD, SLIP), over=searches >= self.searches)


@dataclass(frozen=True)
class Search:
    """Where a lane is, beside its point."""

    adam: Adam
    progress: Progress
    misled: Tensor  # (L,) bool: whether the classifier was misled in this search, caught or not
    c: Weight
    d: Weight
    searches: Tensor  # (L,) int64: pairs tried


def pulls(case: Case, answer: Gradient, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and value (L,) of the three parts at the points asked about; each goal pulls until it is reached."""
    delta = answer.points - case.x
    mislead, slip = (case.goal.confidence - lead for lead in answer.losses)
    loss = delta.flatten(1).square().sum(1) + c * mislead.clamp_min(0) + d * slip.clamp_min(0)
    downhill = delta.mul_(2)
    for weight, short, uphill in ((c, mislead, answer.gradients[0]), (d, slip, answer.gradients[1])):
        downhill = downhill.sub_(column(weight * (short >= 0), downhill) * uphill)
    return usable(downhill), loss

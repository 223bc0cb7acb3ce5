"""Primal-dual gradient descent: Adam on a weighted sum of size and success, whose weights are searched along."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, positive, share
from holdfast.attacks.penalty import Adam
from holdfast.lanes import column
from holdfast.losses.objectives import margin

LAST_STEP = 0.01  # of the first step of the point
DUAL_STEP, LAST_DUAL_STEP = 0.1, 0.1  # of the weights' ratio in logs, and what is left of it at the end
KEPT = 0.9  # of the running mean of the weights, at each step
MOST = 1e6  # the ratio of the two weights, either way
TINY = 1e-12


@dataclass(frozen=True)
class Play:
    """Where the two players of a lane are; one row a lane."""

    adam: Adam
    ratio: Tensor  # (L,) log of the weight of success over that of size
    share: Tensor  # (L,) running mean of the share of size in both weights


@dataclass(frozen=True, kw_only=True)
class PDGD:
    """Descend size and a smooth hinge on the margin, weighted by shares that shift after each success and failure.

    The size is the Euclidean length, not squared; steps are Adam's, so that at first every value moves by the whole
    step, far beyond the nearest boundary, and the search comes back from there. They fall to a hundredth.
    Cost: `steps` forward and backward passes a picture and one forward pass to look at the last point.
    Source: Matyasko & Chau 2021, arXiv:2106.01538 (primal-dual gradient descent); constants as in published code.
    """

    steps: int = field(default=500, metadata={"help": "gradient evaluations a picture"})
    step_size: float = field(default=0.1, metadata={"help": "Adam's first step, falling to a hundredth of it"})
    first_ratio: float = field(default=0.01, metadata={"help": "weight of the size over that of success at first"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "pdgd"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        positive(self, "step_size")
        share(self, "first_ratio")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Play, Query]:
        """Begin at the picture, with nearly all weight on success."""
        ratio = torch.full_like(case.x.flatten(1)[:, 0], -math.log(self.first_ratio))
        return Play(Adam.fresh(case.x), ratio, torch.sigmoid(-ratio)), Query(case.x, gradient_of=margin)

    def step(self, case: Case, at: Play, answer: Gradient) -> tuple[Play, Query]:
        """A step down the weighted sum, cut to the box, and a shift of the weights."""
        done = (case.round - 1).to(case.x) / self.steps
        delta = answer.points - case.x
        length = case.threat.size(delta).clamp_min(TINY)
        # The hinge is log(1 + exp(-margin)), whose slope fades once the goal is well reached.
        steep = (1 - at.share) * torch.sigmoid(-answer.loss.nan_to_num())
        downhill = usable(answer.gradient).mul_(column(-steep, delta))
        downhill.addcmul_(delta, column(at.share / length, delta))
        adam, move = at.adam.descend(downhill, self.step_size * LAST_STEP**done)
        x_adv = move.add_(answer.points).clamp_(case.threat.low, case.threat.high)
        shift = DUAL_STEP * LAST_DUAL_STEP**done * answer.loss.sign().nan_to_num()
        ratio = (at.ratio - shift).clamp(-math.log(MOST), math.log(MOST))
        return Play(adam, ratio, torch.lerp(torch.sigmoid(-ratio), at.share, KEPT)), Query(x_adv, gradient_of=margin)

"""NES: projected gradient steps whose gradient is estimated from scores, along Gaussian ways."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.by_scores import least_rise, nowhere
from holdfast.attacks.case import Case
from holdfast.attacks.differences import either_side, estimated
from holdfast.attacks.options import LossName, at_least, at_least_a_step, positive, share
from holdfast.lanes import column
from holdfast.losses import OBJECTIVES

PATIENCE = 5  # steps without a rise, after which steps are half as long


@dataclass(frozen=True, kw_only=True)
class NES:
    """Ascend an estimate of the gradient, with momentum; steps are half as long where the loss has stopped rising.

    A step asks about `pairs` random ways, each there and back, and about the point itself.
    Cost: 2 `pairs` + 1 forward passes a step, `queries` in all or a step less; no gradient.
    Source: Ilyas, Engstrom, Athalye & Lin 2018, arXiv:1804.08598, algorithm 1, for full scores. Momentum and the rule
    that halves steps are those of the authors' code, here for each picture by itself and without a least step. Ours:
    every estimate is brought to the same largest value before it enters the mean; and the margin, where the paper
    has the cross-entropy, since that is the same in all points of a picture the model is sure of, but for rounding.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture and restart"})
    pairs: int = field(default=25, metadata={"help": "random ways a step, each asked about in both directions"})
    spread: float = field(default=1e-3, metadata={"help": "how far along a way, in widths of the box"})
    step_size: float = field(default=0.5, metadata={"help": "length of a step, in units of eps"})
    momentum: float = field(default=0.9, metadata={"help": "share of the last direction that is kept"})
    loss: LossName = field(default="margin", metadata={"help": "what is ascended"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "nes"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "pairs", "restarts")
        positive(self, "spread", "step_size")
        share(self, "momentum")
        at_least_a_step(self)

    @property
    def breadth(self) -> int:
        """How many a lane asks about at once."""
        return 2 * self.pairs + 1

    @property
    def rounds(self) -> int:
        """As many whole steps as the questions allow."""
        return self.queries // self.breadth

    def start(self, case: Case) -> "tuple[Climb, Query]":
        """Begin at the picture."""
        lowest = nowhere(case)
        at = Climb(torch.zeros_like(case.x), torch.ones_like(lowest), lowest, torch.zeros_like(case.round))
        return at, self.question(case, case.x)

    def step(self, case: Case, at: "Climb", answer: Scores) -> "tuple[Climb, Query]":
        """One step uphill, as far as it can be told."""
        x_adv, loss, gradient = estimated(case, answer, OBJECTIVES[self.loss])
        size = gradient.flatten(1).abs().amax(1).clamp_min(torch.finfo(gradient.dtype).tiny)
        direction = torch.lerp(gradient / column(size, gradient), at.direction, self.momentum)
        rose = loss > least_rise(at.best, answer)
        waited = torch.where(rose, 0, at.waited + 1)
        length = torch.where(waited >= PATIENCE, at.length / 2, at.length)
        waited = torch.where(waited >= PATIENCE, 0, waited)
        x_adv = case.ascend(x_adv, case.steepest(direction, x_adv), length * self.step_size)
        return Climb(direction, length, torch.where(rose, loss, at.best), waited), self.question(case, x_adv)

    def question(self, case: Case, x_adv: Tensor) -> Query:
        """The point, and those around it."""
        way = case.draws.normal(x_adv[:, None].expand(-1, self.pairs, *x_adv.shape[1:]))
        return either_side(case, x_adv, way, self.spread * (case.threat.high - case.threat.low))


@dataclass(frozen=True)
class Climb:
    """Where a lane is, beside its point."""

    direction: Tensor  # like x, the mean of the directions so far
    length: Tensor  # (L,) of the next step, in first ones
    best: Tensor  # (L,) the highest loss so far
    waited: Tensor  # (L,) int64, steps since then, or since they were halved

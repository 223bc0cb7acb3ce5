"""Hill climbing: a random step from the best picture so far, kept if the loss rose; the least that scores allow."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.by_scores import height_there, heights, least_rise
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least, positive
from holdfast.lanes import choose
from holdfast.losses import OBJECTIVES

LONGER, SHORTER = 2.0, 2 ** (-1 / 4)  # in balance where one step in five helps
LEAST = 1e-3  # of the radius: no step is shorter


@dataclass(frozen=True, kw_only=True)
class HillClimbing:
    """Try random steps from the best picture so far, and stay where the loss rose.

    A step leads to the edge of a smaller threat around the best picture. It is twice as long after one that helped and
    shorter after one that did not, so that one in five helps. Knows nothing of pictures: what any other search
    by scores must beat.
    Cost: `queries` forward passes a lane, no gradient.
    Source: the (1+1) evolution strategy with the rule of one in five: Rechenberg 1973, Evolutionsstrategie.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture and restart"})
    step_size: float = field(default=1.0, metadata={"help": "of the first step, in units of eps"})
    loss: LossName = field(default="margin", metadata={"help": "what is ascended"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "hill-climbing"

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "restarts")
        positive(self, "step_size")

    @property
    def rounds(self) -> int:
        """One point a question."""
        return self.queries

    def start(self, case: Case) -> "tuple[Climb, Query]":
        """The first step, from the picture."""
        there = height_there(case, OBJECTIVES[self.loss])
        at = Climb(case.x, there, torch.full_like(there, self.step_size))
        return at, self.question(case, at)

    def step(self, case: Case, at: "Climb", answer: Scores) -> "tuple[Climb, Query]":
        """Stay here or there, and step again."""
        loss = heights(case, answer, OBJECTIVES[self.loss])
        better = loss > least_rise(at.loss, answer)
        length = torch.where(better, LONGER * at.length, SHORTER * at.length).clamp(LEAST, 1.0)
        on = Climb(choose(better, answer.points, at.best), torch.where(better, loss, at.loss), length)
        return on, self.question(case, on)

    def question(self, case: Case, at: "Climb") -> Query:
        """A random point that far from the best, in the box, brought back into the threat."""
        length = (at.length * case.threat.eps).clamp_min(case.threat.grain)
        return Query(case.project(case.threat.with_eps(length).edge(at.best, case.draws)))


@dataclass(frozen=True)
class Climb:
    """Where a lane is."""

    best: Tensor  # the picture of the highest loss
    loss: Tensor  # (L,) there
    length: Tensor  # (L,) of the next step, in units of eps

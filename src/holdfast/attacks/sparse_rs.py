"""Sparse-RS: random search over which places change and to which corners of the box, by scores alone."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.by_scores import heights, least_rise, nowhere
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.places import by_place, random_sides
from holdfast.errors import OptionError
from holdfast.lanes import choose
from holdfast.losses.objectives import margin
from holdfast.threats.l0 import largest

FULL = 10_000
# After so many questions (of `FULL`) the share of the places that are exchanged is the first one over that.
EXCHANGED = ((0, 2), (50, 4), (200, 5), (500, 6), (1000, 8), (2000, 10), (4000, 12), (6000, 15), (8000, 20))


@dataclass(frozen=True, kw_only=True)
class SparseRS:
    """Exchange some of the changed places for others, with random values there, and keep what raised the margin.

    As many places change as the radius allows, each value to a side of the box at random. Fewer and fewer are
    exchanged at once.
    Cost: `queries` forward passes a lane, no gradient.
    Source: Croce, Andriushchenko, Singh, Flammarion & Hein 2022, arXiv:2006.12834, algorithm 1; the schedule, which is
    for 10,000 questions and rescaled, as in the authors' code.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture and restart"})
    exchanged: float = field(default=0.8, metadata={"help": "twice the share of the places exchanged at first"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "sparse-rs"
    norms: ClassVar[tuple[str, ...]] = ("pixels", "l0")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "restarts")
        if not 0 < self.exchanged <= 1:
            raise OptionError(f"SparseRS: exchanged={self.exchanged!r}; allowed: above 0, up to 1. For example 0.8.")

    @property
    def rounds(self) -> int:
        """One point a question."""
        return self.queries

    def start(self, case: Case) -> "tuple[Search, Query]":
        """Random places, random corners."""
        key = case.draws.uniform(by_place(case, case.x)[:, 0])
        places = largest(key, allowed(case))
        at = Search(places, case.x, nowhere(case), places)
        return at, Query(self.made(case, case.x, places, places))

    def step(self, case: Case, at: "Search", answer: Scores) -> "tuple[Search, Query]":
        """Keep what helped, and exchange others."""
        loss = heights(case, answer, margin)
        better = loss > least_rise(at.loss, answer)
        places = choose(better, at.asked, at.places)
        best = choose(better, answer.points, at.best)
        asked, new = self.exchange(case, places)
        on = Search(places, best, torch.where(better, loss, at.loss), asked)
        return on, Query(self.made(case, best, asked, new))

    def exchange(self, case: Case, places: Tensor) -> tuple[Tensor, Tensor]:
        """(L, places) each: other places, some of them the same; and those that get new values.

        Where every place is changed already, as many get new values as would be exchanged.
        """
        count = self.exchanged_at(case) * allowed(case)
        count = torch.minimum(count.floor().clamp_min(1), places.sum(1).double())
        free = (1 - places).sum(1).double()
        key = 1 + case.draws.uniform(places)
        leave = largest(key * places, torch.minimum(count, free))
        enter = largest(key * (1 - places), torch.minimum(count, free))
        anew = largest(key * places, count) * (free == 0)[:, None]
        return places - leave + enter, enter + anew

    def exchanged_at(self, case: Case) -> Tensor:
        """(L,) float64: which share of the places is exchanged at this question."""
        number = case.round.double() * FULL / self.queries
        first, over = (torch.tensor(column, device=number.device) for column in zip(*EXCHANGED, strict=True))
        return self.exchanged / over[torch.bucketize(number, first.double(), right=True) - 1].double()

    def made(self, case: Case, best: Tensor, places: Tensor, new: Tensor) -> Tensor:
        """The picture, with `best` at the places that stay and random sides of the box at the new ones."""
        x, kept = by_place(case, case.x), by_place(case, best)
        sides = by_place(case, random_sides(case, case.draws))
        there = torch.where((new > 0)[:, None], sides, kept)
        return torch.where((places > 0)[:, None], there, x).view_as(case.x)


@dataclass(frozen=True)
class Search:
    """Where a lane is."""

    places: Tensor  # (L, places) 1 where the best picture is changed, else 0
    best: Tensor  # the picture of the highest margin
    loss: Tensor  # (L,) there; -inf before anything was seen
    asked: Tensor  # (L, places) those of the picture that is asked about


def allowed(case: Case) -> Tensor:
    """(L,) float64: how many places may change."""
    eps = torch.as_tensor(case.threat.eps, dtype=torch.float64, device=case.x.device).expand(len(case.x))
    return eps.floor().clamp_max(by_place(case, case.x).shape[2])

"""All points of a regular grid of turns and shifts."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least

BREADTH = 25  # points asked at once


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Ask about every combination of evenly spread angles, shifts down and shifts to the right; keep the worst.

    From -eps to eps each; odd numbers have 0 among them. The middle comes first, small changes before large ones.
    Cost: a forward pass a combination, until one reaches the goal.
    Source: Engstrom et al. 2019, arXiv:1712.02779, sec. 3, with 31 angles and 5 shifts each way.
    """

    angles: int = field(default=31, metadata={"help": "angles tried"})
    shifts: int = field(default=5, metadata={"help": "shifts tried each way"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "grid"
    norms: ClassVar[tuple[str, ...]] = ("rotation",)
    breadth: ClassVar[int] = BREADTH

    def __post_init__(self) -> None:
        at_least(self, 1, "angles", "shifts")

    @property
    def rounds(self) -> int:
        """As many as it takes to ask about all."""
        return math.ceil(self.angles * self.shifts**2 / BREADTH)

    def start(self, case: Case) -> tuple[None, Query]:
        """The middle of the grid."""
        return None, self.asked(case)

    def step(self, case: Case, state: None, answer: Scores) -> tuple[None, Query]:
        """Further out, whatever the answer was."""
        return None, self.asked(case)

    def asked(self, case: Case) -> Query:
        """The next points of every lane; fewer where it comes to the end."""
        grid = combinations(self.angles, self.shifts, self.shifts).to(case.x)
        number = case.round[:, None] * BREADTH + torch.arange(BREADTH, device=case.x.device)
        lane, slot = (number < len(grid)).nonzero().unbind(1)
        share = grid[number[lane, slot]].view(len(lane), *case.x.shape[1:])
        _, most = case.limits  # of each parameter, which may be as far on the other side of 0
        return Query(share * most[lane], lane=lane)


@lru_cache(maxsize=8)
def combinations(*counts: int) -> Tensor:
    """(points, parameters) in [-1, 1], float64, those nearest to 0 first; a single value is 0."""
    values = [(2 * torch.arange(n, dtype=torch.float64) - (n - 1)) / max(n - 1, 1) for n in counts]
    every = torch.cartesian_prod(*values)
    return every[every.square().sum(1).argsort(stable=True)]

"""The worst of a few random points."""

from dataclasses import dataclass, field
from typing import ClassVar

from holdfast.access import Access, Query, Scores
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least


@dataclass(frozen=True, kw_only=True)
class WorstOfK:
    """Ask about `k` random points inside the threat and keep the one of least margin.

    Against turns and shifts, whose loss has many hills, it gets further than gradients at the same cost.
    Cost: `k` forward passes a picture.
    Source: Engstrom et al. 2019, arXiv:1712.02779, sec. 3, with k = 10.
    """

    k: int = field(default=10, metadata={"help": "random points a picture"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "worst-of-k"

    def __post_init__(self) -> None:
        at_least(self, 1, "k")

    @property
    def rounds(self) -> int:
        """One question a point."""
        return self.k

    def start(self, case: Case) -> tuple[None, Query]:
        """The first random point."""
        return None, Query(case.sample())

    def step(self, case: Case, state: None, answer: Scores) -> tuple[None, Query]:
        """Another one, whatever the answer was."""
        return None, Query(case.sample())

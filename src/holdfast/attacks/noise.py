"""Random points inside the threat: the baseline that every attack with gradients has to beat."""

from dataclasses import dataclass, field
from typing import ClassVar

from holdfast.access import Access, Labels, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Try `tries` random points inside the threat and keep one that reaches the goal.

    Cost: `tries` forward passes a picture. Uses nothing but the predicted labels.
    """

    tries: int = field(default=10, metadata={"help": "random points a picture"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        at_least(self, 1, "tries")

    @property
    def rounds(self) -> int:
        """One question a try."""
        return self.tries

    def start(self, case: Case) -> tuple[None, Query]:
        """The first random point."""
        return None, Query(case.sample())

    def step(self, case: Case, state: None, answer: Labels) -> tuple[None, Query]:
        """Another random point, whatever the answer was."""
        return None, Query(case.sample())

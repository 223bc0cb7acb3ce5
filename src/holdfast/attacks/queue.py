"""The lanes that wait, cheapest first."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from holdfast.attacks.attack import Attack, restarts, targets
from holdfast.losses import Goal


@dataclass(frozen=True)
class Plan:
    """One pass over all pictures: an attack, its restart, and the class each picture heads for."""

    attack: int  # number in the list of attacks
    restart: int
    target: Tensor | None  # (N,) int64
    rank: int  # place in the order of lanes of a picture


def plans(attacks: Sequence[Attack], logits: Tensor, goal: Goal) -> list[Plan]:
    """All lanes of a picture in their order: by attack, then restart, then target."""
    made: list[Plan] = []
    for number, attack in enumerate(attacks):
        heads = targets(attack, logits, goal)
        columns = [None] if heads is None else list(heads.unbind(1))
        for restart in range(restarts(attack)):
            first = len(made)
            made.extend(Plan(number, restart, column, first + i) for i, column in enumerate(columns))
    return made


class Queue:
    """Hands out lanes plan by plan, leaving out pictures that are closed by then."""

    def __init__(self, waiting: Sequence[Plan], pictures: Tensor) -> None:
        self._plans = list(waiting)
        self._pictures = pictures
        self._at = 0

    @property
    def remaining(self) -> int:
        """Lanes not handed out yet, closed pictures included until their plan's turn."""
        return len(self._plans) * len(self._pictures) - self._at

    @property
    def between_plans(self) -> bool:
        """Whether the next lanes are the first of their plan."""
        return self._at == 0

    @property
    def next(self) -> Plan:
        """The plan that the next lanes belong to."""
        return self._plans[0]

    def take(self, room: int, closed: Tensor) -> tuple[Plan, Tensor]:
        """The next plan and at most `room` of its pictures that are still open (perhaps none)."""
        plan = self._plans[0]
        block = self._pictures[self._at : self._at + room]
        self._at += len(block)
        if self._at >= len(self._pictures):
            self._plans.pop(0)
            self._at = 0
            # Pictures never open again, so the next plan need not look at closed ones.
            self._pictures = self._pictures[~closed[self._pictures]]
        return plan, block[~closed[block]]

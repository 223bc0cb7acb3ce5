"""Giving up lanes that, rising as they have, would not get there."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from holdfast.access import Gradient, Query
from holdfast.attacks.attack import breadth, wanders
from holdfast.attacks.case import Case
from holdfast.attacks.stages import any_lane
from holdfast.attacks.wrapper import Wrapper, inside
from holdfast.errors import OptionError

CROSSING = (
    "margin",
    "logit_difference",
    "dlr",
    "probability_margin",
)  # losses that are positive where the goal is reached


@dataclass(frozen=True, kw_only=True)
class Cut(Wrapper):
    """`attack`, a lane of which ends early where its loss is not on the way to 0, at which the picture is broken.

    At each of the `shares` of its questions a lane's best loss is carried on in a straight line, as it rose since the
    last of them. As losses rise ever more slowly, a lane that would miss 0 even so is given up; `slack` makes the line
    as many times as steep. Meant for losses that cross 0 with the goal (margin, DLR, difference of logits).
    Cost: as `attack` for lanes that stay in, down to the first share of it for the others.
    Source: ours; that evaluations can stop where nothing moves any more cf. arXiv:2503.19347, which detects cycles.
    """

    shares: tuple[float, ...] = field(default=(0.22, 0.41, 0.57, 0.7, 0.8), metadata={"help": "when lanes are judged"})
    slack: float = field(default=1.0, metadata={"help": "how many times as steep the line is taken"})

    def __post_init__(self) -> None:
        super().__post_init__()
        loss = getattr(inside(self.attack), "loss", None)
        if loss not in CROSSING:
            raise OptionError(
                f"Cut: the attack's loss is {loss!r}; allowed: {', '.join(CROSSING)}, "
                "which cross 0 where a picture is broken. Set loss='dlr' in the attack."
            )
        if wanders(self.attack) or breadth(self.attack) > 1:
            raise OptionError(
                f"Cut: {self.attack.name} asks about several points at once, or outside the threat; allowed: an attack "
                "whose every question is the point it has come to, so that its loss can be followed. Leave Cut out."
            )
        if (
            not self.shares
            or list(self.shares) != sorted(set(self.shares))
            or not 0 < self.shares[0] <= self.shares[-1] < 1
        ):
            raise OptionError(f"Cut: shares={self.shares!r}; allowed: rising numbers between 0 and 1. Leave them out.")
        if not self.slack > 0:
            raise OptionError(f"Cut: slack={self.slack!r}; allowed: numbers > 0. Leave it out for 1.")

    @property
    def places(self) -> list[int]:
        """After how many answers lanes are judged."""
        return sorted({max(2, int(share * self.rounds)) for share in self.shares})

    def start(self, case: Case) -> "tuple[Course, Query]":
        """As the attack does."""
        state, query = self.attack.start(case)
        lowest = torch.full_like(case.x.flatten(1)[:, 0], -torch.inf)
        return Course(state, best=lowest, then=lowest), query

    def step(self, case: Case, at: "Course", answer: Gradient) -> "tuple[Course, Query]":
        """As the attack does, and the end of lanes that would not get there."""
        best = torch.maximum(at.best, answer.loss.nan_to_num(nan=-torch.inf))
        answered = case.round  # (L,) how many answers each lane has had, this one included
        then = torch.where(answered == 1, best, at.then)
        state, query = cast(tuple[Any, Query], self.attack.step(case, at.state, answer))  # no loss to cut, no parts
        before = self._before(answered)
        judged = before >= 0
        if case.goal.confidence or not any_lane(judged):
            return Course(state, best, then), query
        rate = (best - then) / (answered - before).clamp_min(1)
        ends = judged & (best + self.slack * rate * (self.rounds - answered) < 0)
        over = ends if query.over is None else query.over | ends
        return Course(state, best, torch.where(judged, best, then)), replace(query, over=over)

    def _before(self, answered: Tensor) -> Tensor:
        """(L,) the number of answers at the last judgement, where the next one is due now, else -1."""
        table = torch.full((self.rounds + 1,), -1, device=answered.device)
        places = [1, *self.places]
        for before, place in zip(places, places[1:]):
            table[place] = before
        return table[answered]


@dataclass(frozen=True)
class Course:
    """One row a lane."""

    state: Any  # the attack's own
    best: Tensor  # (L,) highest loss so far
    then: Tensor  # (L,) highest loss when the lane was last judged, or its first

"""What searches by labels alone share: how they begin, and how they get to the boundary."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.case import Case
from holdfast.attacks.phases import OVER, Heard, between, in_phase, one_each
from holdfast.lanes import choose, column
from holdfast.threats import whole_box

BLENDS = 10  # with noise, further and further from the picture
NOISES = 15  # how many noises are tried


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Find a point that reaches the goal: the other picture given, else blends with noise, the nearest that does.

    A lane that finds none is over; its neighbours go on. State: `x_adv` the point found, `tried` int64.
    """

    then: int  # the phase that goes on from the point found

    def ask(self, case: Case, at: Any) -> tuple[Tensor, Tensor]:
        """The other picture alone; then all blends with one noise."""
        assert case.beginning is not None
        share = torch.arange(1, BLENDS + 1, device=case.x.device).to(case.x) / BLENDS
        far = case.threat.low + (case.threat.high - case.threat.low) * noise(case, at.tried)
        blends = torch.lerp(case.x[:, None], far[:, None], column(share, case.x)[None])
        first = self.elsewhere(case, at)
        points = torch.where(column(first, blends), case.beginning[:, None], blends)
        return points, torch.where(first, 1, BLENDS)

    def hear(self, case: Case, at: Any, heard: Heard) -> Any:
        """On from the first that won; else another noise, or none any more."""
        again = in_phase(at, 0, tried=at.tried + 1)
        found = in_phase(at, self.then, x_adv=heard.first_won, tried=torch.zeros_like(at.tried))
        none = in_phase(again, OVER)
        return choose(heard.any_won, found, choose(at.tried >= NOISES, none, again))

    def elsewhere(self, case: Case, at: Any) -> Tensor:
        """(L,) bool: lanes that are to try the other picture first."""
        assert case.beginning is not None
        new: Tensor = at.tried == 0
        return new & (case.beginning != case.x).flatten(1).any(1)


def noise(case: Case, tried: Tensor) -> Tensor:
    """Noise in [0, 1] of three kinds in turn, since models differ in what they take for another class.

    Every value uniform; every value at a side of the box; one colour, a uniform value a channel.
    """
    uniform = case.draws.uniform(case.x)
    sides = (case.draws.signs(case.x, stream=1) + 1) / 2
    channels = case.x.flatten(2)[..., 0] if case.x.ndim > 2 else case.x
    plain = case.draws.uniform(channels, stream=2).view(*channels.shape, *[1] * (case.x.ndim - 2)).expand_as(case.x)
    kind = column(tried % 3, case.x)
    return torch.where(kind == 0, uniform, torch.where(kind == 1, sides, plain))


@dataclass(frozen=True, kw_only=True)
class Approach:
    """Halve the way between the picture and a point that reaches the goal until the boundary lies within a tolerance.

    State: `x_adv` the point, `low` and `high` (L,) the shares of its change between which the boundary lies, from 0
    and 1; afterwards `x_adv` is the nearer point that reaches the goal. `tolerance` is a share of that change.
    """

    number: int  # of this phase
    then: int
    tolerance: float

    def ask(self, case: Case, at: Any) -> tuple[Tensor, Tensor]:
        """Half way."""
        return one_each(between(case, at.x_adv, (at.low + at.high) / 2))

    def hear(self, case: Case, at: Any, heard: Heard) -> Any:
        """On this or that half; at its end where it is short enough."""
        middle, won = (at.low + at.high) / 2, heard.any_won
        low, high = torch.where(won, at.low, middle), torch.where(won, middle, at.high)
        on = in_phase(at, self.number, low=low, high=high)
        there = in_phase(
            at,
            self.then,
            x_adv=between(case, at.x_adv, high),
            low=torch.zeros_like(low),
            high=torch.ones_like(high),
        )
        return choose(high - low <= self.tolerance, there, on)


def direction(x_adv: Tensor, heard: Heard) -> Tensor:
    """(L, C, H, W) the mean way from `x_adv` to the points that reach the goal and away from the others.

    Votes count from their mean, so that how often points won says nothing, unless all did or none.
    """
    mean = 2 * heard.share_won() - 1
    vote = heard.won.to(x_adv) * 2 - 1
    vote = torch.where(mean.abs()[:, None] >= 1, vote, vote - mean[:, None].to(vote)) * heard.asked
    return torch.bmm(vote[:, None], (heard.points - x_adv[:, None]).flatten(2)).view_as(x_adv)


def tolerance(case: Case) -> float:
    """The size of the unit box over the square of the number of values, as HopSkipJump has it: 1 / d^1.5 in L2."""
    shape, width = tuple(case.x.shape[1:]), case.threat.high - case.threat.low
    return whole_box(case.threat, shape) / width / math.prod(shape) ** 2

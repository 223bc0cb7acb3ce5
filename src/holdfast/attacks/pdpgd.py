"""Primal-dual proximal gradient descent: the weights of size and success are searched along with the point."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.attack import WHOLE
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import longest, open_ways, stepped, towards
from holdfast.attacks.options import at_least, positive, share
from holdfast.lanes import column
from holdfast.losses.objectives import margin

KEPT, KEPT_LENGTH, KEPT_SHARE = 0.5, 0.9, 0.9  # of the running means, at each step
LAST_STEP = 0.001  # of the first step's length
DUAL_SPAN = 27.5  # how far the log of the ratio moves in all if always the same way; steps of 0.1 to 0.01, 500 of them
MOST = 1e6  # the ratio of the two weights, either way
TINY = 1e-12


@dataclass(frozen=True)
class Play:
    """Where the two players of a lane are; one row a lane."""

    uphill: Tensor  # like x, running mean of the loss's gradients
    length: Tensor  # (L,) running mean of their Euclidean lengths
    ratio: Tensor  # (L,) log of the weight of success over that of size
    share: Tensor  # (L,) running mean of the share of size in both weights
    won: Tensor  # (L,) bool: has seen a success


@dataclass(frozen=True, kw_only=True)
class PDPGD:
    """Step uphill, then pull the change back by a weight that rises after each success and falls after each failure.

    The pull is the proximal operator of the size (`Threat.shrink`), which makes values exactly 0 in L1 and L0.
    Steps fall exponentially and follow a mean of gradients over a mean of their lengths, for which the operator is
    exact; the paper scales each value by itself (Adam) and iterates. The first step's length is in Euclidean units,
    times the longest that a move of size 1 can be. Until its first success a lane neither pulls nor shortens its
    steps. The weights' way scales with `steps`; the paper's constants are for 500.
    Cost: `steps` forward and backward passes a picture and one forward pass to look at the last point.
    Source: Matyasko & Chau 2021, arXiv:2106.01538 (primal-dual proximal gradient descent).
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations a picture"})
    step_size: float = field(default=1.0, metadata={"help": "the first step's length, falling to a thousandth of it"})
    first_ratio: float = field(default=0.01, metadata={"help": "weight of the size over that of success at first"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "pdpgd"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = WHOLE  # a square is shrunk as a whole or not at all, which finds nothing
    masks: ClassVar[tuple[str, ...]] = WHOLE

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
        none = torch.zeros_like(case.x.flatten(1)[:, 0])
        ratio = none - math.log(self.first_ratio)
        at = Play(torch.zeros_like(case.x), none, ratio, torch.sigmoid(-ratio), torch.zeros_like(none).bool())
        return at, Query(case.x, gradient_of=margin)

    def step(self, case: Case, at: Play, answer: Gradient) -> tuple[Play, Query]:
        """Step uphill, pull back by the size's weight, and shift the weights."""
        # The slope of -log(1 + exp(-margin)), which fades once the goal is well reached.
        slope = open_ways(case, answer.points, answer.gradient).mul_(column(torch.sigmoid(-answer.loss), case.x))
        uphill = torch.lerp(slope, at.uphill, KEPT)
        length = torch.lerp(slope.flatten(1).square().sum(1).sqrt(), at.length, KEPT_LENGTH)
        times = case.round.to(length)
        mean, won = length / (1 - KEPT_LENGTH**times), at.won | answer.reached
        rate = self.reach(case, won) / mean.clamp_min(TINY)
        move = stepped(case, answer.points, uphill, rate / (1 - KEPT**times))
        x_adv = towards(case, case.threat.shrink(move, rate * (at.share / (1 - at.share)) * won))
        ratio, pull = self.weights(case, at, answer)
        return Play(uphill, length, ratio, pull, won), Query(x_adv, gradient_of=margin)

    def reach(self, case: Case, won: Tensor) -> Tensor:
        """(L,): the Euclidean length of a step along a gradient of usual length."""
        done = (case.round - 1).to(case.x) / self.steps
        return self.step_size * longest(case) * torch.where(won, LAST_STEP**done, 1.0)

    def weights(self, case: Case, at: Play, answer: Gradient) -> tuple[Tensor, Tensor]:
        """The log of the ratio a step further, and the running mean of the size's share."""
        done = (case.round - 1).to(case.x) / self.steps
        rate = DUAL_SPAN / (0.55 * self.steps) * (1 - 0.9 * done)  # 0.55: what 1 - 0.9 done is on average
        ratio = (at.ratio - rate * answer.loss.sign()).clamp(-math.log(MOST), math.log(MOST))
        return ratio, torch.lerp(torch.sigmoid(-ratio), at.share, KEPT_SHARE)

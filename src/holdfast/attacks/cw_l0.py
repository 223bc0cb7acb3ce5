"""Carlini & Wagner's attack in L0: the L2 attack on fewer and fewer values, those that matter least being given up."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least, positive
from holdfast.attacks.penalty import Adam, pull
from holdfast.attacks.stages import any_lane
from holdfast.lanes import choose
from holdfast.losses.objectives import margin

AT_ONCE = 0.3  # of the root of the number of changed values: how many are given up at a time
NEGLIGIBLE = 0.01  # a value whose change gains more than this ends a round of giving up
GROWTH = 2.0  # of the weight, after a failure


@dataclass(frozen=True, kw_only=True)
class CWL0:
    """Change the free values by the L2 attack until the goal is reached; fix those that matter least; go on from there.

    What a value matters is its change times its gradient there, of the goal's margin. After each success those not
    changed are fixed, and of the others the 0.3 sqrt(number) that matter least, ending at the first that matters more
    than 0.01. After `patience` steps without success the weight c is doubled. A picture ends when c exceeds
    `largest_c`, so each goes on as long as it gets somewhere. Each channel of a pixel counts by itself.
    Here Adam moves the picture itself, cut to the box, since the source's inverse hyperbolic tangent does not let
    values at exactly 0 or 1 move.
    Cost: at most `steps` forward and backward passes, and a forward pass.
    Source: Carlini & Wagner 2017, arXiv:1608.04644, sec. VI.B; how many are fixed at a time: the authors' code.
    """

    steps: int = field(default=1000, metadata={"help": "gradient evaluations a picture, at most"})
    patience: int = field(default=20, metadata={"help": "steps without success after which c is doubled"})
    first_c: float = field(default=1.0, metadata={"help": "the first weight of the goal"})
    largest_c: float = field(default=1e4, metadata={"help": "a picture that needs more is done"})
    step_size: float = field(default=0.05, metadata={"help": "Adam's"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "cw-l0"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l0",)

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "patience")
        positive(self, "first_c", "largest_c", "step_size")

    @property
    def rounds(self) -> int:
        """The steps, and a look at where the last led."""
        return self.steps + 1

    def start(self, case: Case) -> "tuple[Free, Query]":
        """Begin at the picture, all values being free."""
        c = torch.full_like(case.x.flatten(1)[:, 0], self.first_c)
        at = Free(Adam.fresh(case.x), torch.ones_like(case.x), c, torch.zeros_like(case.round))
        return at, Query(case.x, gradient_of=margin, over=torch.zeros_like(c, dtype=torch.bool))

    def step(self, case: Case, at: "Free", answer: Gradient) -> "tuple[Free, Query]":
        """One of Adam's steps; after a success instead fewer free values, the others taken back."""
        won, tried = answer.reached, torch.where(answer.reached, 0, at.tried + 1)
        failed = tried >= self.patience
        c = torch.where(failed, GROWTH * at.c, at.c)
        downhill, _ = pull(case, answer, at.c)
        adam, move = at.adam.descend(downhill.mul_(at.free), self.step_size)
        x_adv = move.mul_(at.free).add_(answer.points).clamp_(case.threat.low, case.threat.high)
        free = at.free
        if any_lane(won):
            fewer = fixed(free, answer.points - case.x, answer.gradient)
            free, x_adv = choose(won, (fewer, torch.lerp(case.x, answer.points, fewer)), (free, x_adv))
        over = c > self.largest_c
        return Free(adam, free, c, torch.where(failed, 0, tried)), Query(x_adv, gradient_of=margin, over=over)


@dataclass(frozen=True)
class Free:
    """Where a lane is."""

    adam: Adam
    free: Tensor  # like x: 1 where a value may change, else 0
    c: Tensor  # (L,) weight of the goal
    tried: Tensor  # (L,) int64: steps since the last success, with this c


def fixed(free: Tensor, delta: Tensor, gradient: Tensor) -> Tensor:
    """`free` less the values that are not changed and some that matter least; the number is for each lane its own."""
    flat, change = free.flatten(1), delta.flatten(1).abs()
    used = flat * (change > 0)
    matter = (change * gradient.flatten(1).abs()).nan_to_num(nan=0.0)
    most = max(1, math.ceil(AT_ONCE * math.sqrt(change.shape[1])))
    value, place = torch.where(used > 0, matter, torch.inf).topk(min(most, change.shape[1]), largest=False)
    limit = (AT_ONCE * used.sum(1, keepdim=True).sqrt()).clamp_min(1)
    rank = torch.arange(value.shape[1], device=value.device)
    before = torch.cat([torch.zeros_like(value[:, :1]), value[:, :-1]], 1)
    stays = ((rank >= limit) | (before > NEGLIGIBLE)).to(flat)
    return used.scatter(1, place, stays * used.gather(1, place)).view_as(free)

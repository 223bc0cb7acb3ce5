"""Projected gradient descent on the loss's negative: steps along the steepest direction, back into the threat."""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least, positive
from holdfast.draws import Draws
from holdfast.losses import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Ascend the goal's loss in steps, projecting back into the threat after each.

    Steps of one length soon go round in circles; with `stop_at_cycle` a lane ends where it has been before, to the
    bit, from where it would only repeat itself. For models that answer alike each time.
    Cost: `steps` forward and backward passes a lane and one forward pass to look at the last point.
    Source: Madry et al. 2018, arXiv:1706.06083, sec. 2.1; here with steps in units of the radius, and keeping the
    best point seen instead of the last. Cycles: arXiv:2503.19347.
    """

    steps: int = field(default=40, metadata={"help": "gradient evaluations a picture and restart"})
    step_size: float = field(default=0.1, metadata={"help": "length of a step, in units of eps"})
    random_start: bool = field(default=True, metadata={"help": "start at a random point inside the threat"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    stop_at_cycle: bool = field(default=False, metadata={"help": "end where a lane is back where it has been"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "pgd"

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "restarts")
        positive(self, "step_size")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    @property
    def straight(self) -> bool:
        """Whether every lane asks for `steps` gradients, once."""
        return self.restarts == 1 and not self.stop_at_cycle

    def start(self, case: Case) -> tuple[Tensor | None, Query]:
        """Begin at a random point inside the threat, or at the picture."""
        x_adv = case.sample() if self.random_start else case.x
        query = Query(x_adv, gradient_of=OBJECTIVES[self.loss])
        if not self.stop_at_cycle:
            return None, query
        return fingerprint(x_adv)[:, None].repeat(1, self.rounds), query

    def step(self, case: Case, seen: Tensor | None, answer: Gradient) -> tuple[Tensor | None, Query]:
        """One step uphill. `seen` (L, rounds) int64 are the fingerprints of where a lane has been."""
        x_adv = case.ascend(answer.points, case.steepest(answer.gradient, answer.points), self.step_size)
        query = Query(x_adv, gradient_of=OBJECTIVES[self.loss])
        if seen is None:
            return None, query
        here = fingerprint(x_adv)[:, None]
        over = (seen == here).any(1)
        return seen.scatter(1, case.round[:, None], here), replace(query, over=over)


def fingerprint(x: Tensor) -> Tensor:
    """(L,) int64, the same for points that are the same to the bit, and for others once in 2^63 pairs or so."""
    bits = x.flatten(1).view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()])
    return (bits * weights(bits.shape[1], x.device)).sum(1)


@lru_cache(maxsize=8)
def weights(values: int, device: torch.device) -> Tensor:
    """(1, values) int64 at random, the same each time; made once, as every step wants them."""
    draws, like = Draws(0, torch.zeros(1, dtype=torch.int64, device=device)), torch.empty(1, values, device=device)
    return draws.integers(like, 2**32) << 32 | draws.integers(like, 2**32, stream=1)

"""What attacks share that minimise a size plus a weight times how far the goal is: Adam, and the weight's search."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.access import Gradient
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.lanes import choose, column

BETA, BETA_SQUARE, TINY = 0.9, 0.999, 1e-8  # Adam's constants, as its paper has them
GROWTH = 10.0  # of the weight, until it is first large enough
FALLING = 0.9999  # a loss above this share of the one before has stopped falling
LOOKS = 10  # how often a search is looked at for that


@dataclass(frozen=True)
class Adam:
    """Moments of each lane's gradient; they belong to the state and are written in place.

    Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    mean: Tensor  # like x
    square: Tensor  # like x
    t: Tensor  # (L,) int64: gradients seen

    @classmethod
    def fresh(cls, x: Tensor) -> "Adam":
        """Before the first gradient."""
        return cls(torch.zeros_like(x), torch.zeros_like(x), torch.zeros(len(x), dtype=torch.int64, device=x.device))

    def descend(self, gradient: Tensor, step_size: float | Tensor) -> tuple["Adam", Tensor]:
        """The moments after `gradient`, and the move downhill; `step_size` may be (L,), one a lane."""
        t = self.t + 1
        mean = self.mean.lerp_(gradient, 1 - BETA)
        square = self.square.mul_(BETA_SQUARE).addcmul_(gradient, gradient, value=1 - BETA_SQUARE)
        count = t.to(gradient)
        # Both corrections for the start go into the length, one number a lane, and into the guard beside the root.
        root = (1 - BETA_SQUARE**count).sqrt()
        length = column(-step_size * root / (1 - BETA**count), gradient)
        move = mean.div(square.sqrt().add_(column(TINY * root, gradient))).mul_(length)
        return Adam(mean, square, t), move


@dataclass(frozen=True)
class Weight:
    """The weight of the goal in each lane's loss, and what is known of the smallest one that reaches it."""

    value: Tensor  # (L,)
    low: Tensor  # (L,) the largest that failed, 0 before
    high: Tensor  # (L,) the smallest that won, infinite before
    searches: Tensor  # (L,) int64: weights tried

    @classmethod
    def first(cls, x: Tensor, value: float) -> "Weight":
        """The first one to try."""
        nothing = torch.zeros_like(x.flatten(1)[:, 0])
        return cls(
            nothing + value, nothing, nothing + torch.inf, torch.zeros(len(x), dtype=torch.int64, device=x.device)
        )

    def next(self, won: Tensor, due: Tensor) -> "Weight":
        """Where `due` (L,): half way between failure and success; ten times as much before the first success."""
        low = torch.where(won, self.low, self.value.maximum(self.low))
        high = torch.where(won, self.value.minimum(self.high), self.high)
        value = torch.where(high.isfinite(), (low + high) / 2, GROWTH * self.value)
        return choose(due, Weight(value, low, high, self.searches + 1), self)


@dataclass(frozen=True)
class Progress:
    """How a lane's search with one weight goes."""

    taken: Tensor  # (L,) int64: steps
    before: Tensor  # (L,) the loss when it was last looked at
    won: Tensor  # (L,) bool: whether the goal was reached since then

    @classmethod
    def fresh(cls, x: Tensor) -> "Progress":
        """Before the first answer."""
        nothing = torch.zeros_like(x.flatten(1)[:, 0])
        return cls(torch.zeros(len(x), dtype=torch.int64, device=x.device), nothing + torch.inf, nothing > 0)

    def after(self, loss: Tensor, reached: Tensor, steps: int, *, abort: bool) -> tuple["Progress", Tensor]:
        """One answer later, and (L,) whether the search is over: after `steps`, or where the loss no longer falls."""
        look = self.taken % max(1, steps // LOOKS) == 0
        stuck = look & (loss > FALLING * self.before) if abort else torch.zeros_like(look)
        # A success before the last look proves nothing: Adam's first steps pass a near boundary by their mere length,
        # and a weight that only then won would send the search below every weight that holds the goal.
        won = torch.where(look & ~stuck, reached, self.won | reached)
        on = Progress(self.taken + 1, torch.where(look, loss, self.before), won)
        return on, stuck | (on.taken >= steps)

    def restarted(self, due: Tensor) -> "Progress":
        """From the start where `due` (L,)."""
        before = torch.where(due, torch.inf, self.before)
        return Progress(torch.where(due, 0, self.taken), before, self.won & ~due)


def pull(case: Case, answer: Gradient, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and value (L,) of |delta|^2 + weight * max(kappa - margin, 0), at the points asked about.

    The goal pulls until it is reached, by the confidence asked for; what is not finite moves nothing.
    """
    delta = answer.points - case.x
    loss = delta.flatten(1).square().sum(1) + weight * (case.goal.confidence - answer.loss).clamp_min(0)
    c = column(weight * ~answer.reached, delta)
    return usable(delta.mul_(2).sub_(c * answer.gradient)), loss

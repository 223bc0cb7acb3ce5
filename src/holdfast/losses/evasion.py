"""What attacks on guarded models climb that tell classifier and detector apart: functions of all logits."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from holdfast.losses.goal import Goal
from holdfast.losses.objectives import margin

__all__ = ["MISLEAD", "SLIP", "Whole"]


@dataclass(frozen=True)
class Whole:
    """An objective that is given the logits (N, K + 1) with that of refusal, the last, which no other one sees."""

    of: Callable[[Tensor, Goal], Tensor]
    whole: bool = True

    def __call__(self, logits: Tensor, goal: Goal) -> Tensor:
        """(N,), growing as the goal comes nearer."""
        return self.of(logits, goal)


def mislead(logits: Tensor, goal: Goal) -> Tensor:
    """The classifier's own margin, whatever the detector says. Above 0: it is misled."""
    return margin(logits[:, :-1], goal)


def slip(logits: Tensor, goal: Goal) -> Tensor:
    """How far the logit of refusal is below the largest other. Above 0: the detector lets it pass."""
    return logits[:, :-1].amax(1) - logits[:, -1]


MISLEAD, SLIP = Whole(mislead), Whole(slip)

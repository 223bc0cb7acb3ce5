"""What an attack climbs: functions (logits (N, K), goal) -> (N,) that grow towards the goal, right for K = 2 too.

A new one is a function here and a line in `OBJECTIVES`.
"""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from holdfast.errors import unknown
from holdfast.losses import formulas
from holdfast.losses.goal import Goal

__all__ = [
    "OBJECTIVES",
    "Objective",
    "cross_entropy",
    "dlr",
    "log_odds",
    "logit_difference",
    "margin",
    "objective",
    "probability_margin",
]

Objective: TypeAlias = Callable[[Tensor, Goal], Tensor]


def cross_entropy(logits: Tensor, goal: Goal) -> Tensor:
    """Cross-entropy of the label; minus that of the target when there is one."""
    if goal.target is None:
        return formulas.cross_entropy(logits, goal.y)
    return -formulas.cross_entropy(logits, goal.target)


def margin(logits: Tensor, goal: Goal) -> Tensor:
    """Largest other logit minus the label's; with a target, its logit minus the largest other. Above 0: reached."""
    if goal.target is None:
        return -formulas.margin(logits, goal.y)
    return formulas.margin(logits, goal.target)


def logit_difference(logits: Tensor, goal: Goal) -> Tensor:
    """The target's logit minus the label's; without a target the same as `margin`."""
    if goal.target is None:
        return -formulas.margin(logits, goal.y)
    return formulas.logit_difference(logits, goal.y, goal.target)


def probability_margin(logits: Tensor, goal: Goal) -> Tensor:
    """Probability of the target, or of the likeliest other class, minus the label's."""
    return formulas.probability_margin(logits, goal.y, goal.target)


def dlr(logits: Tensor, goal: Goal) -> Tensor:
    """Difference of logits ratio, targeted form with a target: blind to the scale of the logits."""
    if goal.target is None:
        return formulas.dlr(logits, goal.y)
    return formulas.targeted_dlr(logits, goal.y, goal.target)


def log_odds(logits: Tensor, goal: Goal) -> Tensor:
    """Log of the odds against the label, or for the target: orders pictures as the cross-entropy, never saturates."""
    if goal.target is None:
        return -formulas.log_odds(logits, goal.y)
    return formulas.log_odds(logits, goal.target)


OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "logit_difference": logit_difference,
    "dlr": dlr,
    "probability_margin": probability_margin,
    "log_odds": log_odds,
}


def objective(name: str) -> Objective:
    """The objective of that name. Raises: `OptionError` that lists the nearest and all known ones."""
    if name not in OBJECTIVES:
        raise unknown("loss", name, OBJECTIVES)
    return OBJECTIVES[name]

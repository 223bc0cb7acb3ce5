"""At how many random views of it an adversarial picture still is one: judged apart from the attack that made it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.access import borrow
from holdfast.access.borrow import Model
from holdfast.attacks import Views
from holdfast.attacks.views import judging
from holdfast.losses import Goal
from holdfast.threats import AnyThreat

LOOKS = 50  # at each picture


@dataclass(frozen=True)
class Looks:
    """Shares of the views at which the goal is reached, and what it cost to look."""

    before: Tensor  # (N,) float64 of the original pictures: what the views do by themselves
    after: Tensor  # (N,) float64 of the returned ones
    passes: int  # forward passes, in pictures


def looked_at(
    model: Model,
    x: Tensor,
    x_adv: Tensor,
    goal: Goal,
    views: Views,
    threat: AnyThreat,
    *,
    place: Tensor,
    seed: int = 0,
    looks: int = LOOKS,
    batch: int = 256,
) -> Looks:
    """Show the model `looks` random views of each picture, the same ones before and after the attack.

    Views are drawn from `seed` and the picture's `place` under a key of their own, so that they are none of those the
    attack has seen, and the same in any batch. Args: `x`, `x_adv` (N, C, H, W); `goal` of each; `threat` for its box.
    Cost: 2 x `looks` forward passes a picture.
    """
    counts = torch.zeros(2, len(x), dtype=torch.float64, device=x.device)
    with borrow(model) as lent, torch.no_grad():
        for rows in torch.arange(len(x), device=x.device).split(batch):
            draws = judging(seed, place.to(x.device)[rows])
            wanted = Goal(goal.y[rows], None if goal.target is None else goal.target[rows], goal.confidence)
            for look in range(looks):
                seen = views.drawn(draws, x[rows], look, threat.low, threat.high)
                for kind, pictures in enumerate((x, x_adv)):
                    counts[kind, rows] += wanted.reached(lent(seen(pictures[rows])))
    return Looks(counts[0] / looks, counts[1] / looks, 2 * looks * len(x))

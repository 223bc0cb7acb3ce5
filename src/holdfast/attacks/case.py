"""What an attack knows of its lanes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.draws import Draws
from holdfast.lanes import column
from holdfast.losses import Goal
from holdfast.threats import Threat


@dataclass(frozen=True)
class Case:
    """Some lanes, each a (picture, restart, target) under attack; every tensor has one row a lane.

    `goal` judges whether a lane is won. `target` is the class the lane heads for, where the attack works through
    several; it is a means, and a lane of an untargeted goal is won by any other class as well.
    """

    x: Tensor  # (L, C, H, W) the pictures as they are
    goal: Goal
    threat: Threat
    limits: tuple[Tensor, Tensor]  # each like x, the tightest bounds of every input value
    draws: Draws
    target: Tensor | None = None  # (L,) int64
    beginning: Tensor | None = None  # (L, C, H, W) where a search by labels alone may begin, if it reaches the goal
    logits: Tensor | None = None  # (L, K) what the model says of `x`, to attacks that may see scores

    @property
    def round(self) -> Tensor:
        """(L,) int64: how many questions each lane has had answered."""
        assert self.draws.round is not None  # filled in by `Draws` itself
        return self.draws.round

    def next_round(self) -> "Case":
        """The same lanes one question later."""
        return replace(self, draws=self.draws.at(self.round + 1))

    def project(self, x_adv: Tensor) -> Tensor:
        """Back into the threat around the lanes' pictures."""
        return self.threat.project(x_adv, self.x, self.limits)

    def steepest(self, gradient: Tensor, x_adv: Tensor) -> Tensor:
        """The direction of size 1 along which the loss rises most from `x_adv`."""
        return self.threat.steepest(gradient, x_adv, self.limits)

    def sample(self) -> Tensor:
        """A random point inside the threat."""
        return self.threat.sample(self.x, self.draws, self.limits)

    def edge(self) -> Tensor:
        """A random point at the edge of the threat."""
        return self.threat.edge(self.x, self.draws, self.limits)

    def ascend(self, x_adv: Tensor, direction: Tensor, share: float | Tensor) -> Tensor:
        """`x_adv` moved along `direction` by `share` (one, or (L,)) of the radius, then projected."""
        length = share * self.threat.eps
        if isinstance(length, Tensor):
            moved = x_adv + direction * column(length, x_adv).to(x_adv)
        else:
            moved = torch.add(x_adv, direction, alpha=length)
        return self.threat.project(moved, self.x, self.limits, out=moved)

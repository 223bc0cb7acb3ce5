"""Pictures that an attack moves by gradients which the weights' own steps leave."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.attacks import Climb


class Taken(Protocol):
    """What is known after a step: where it was taken, and what came of it."""

    @property
    def point(self) -> Tensor:
        """(N, C, H, W), with the gradient that was left there."""
        ...

    @property
    def logits(self) -> Tensor:
        """(N, K)."""
        ...

    @property
    def losses(self) -> Tensor:
        """(N,)."""
        ...


@dataclass
class Walk:
    """The adversarial share of a batch on its way, and the rest, which stays."""

    climb: Climb
    rest: Tensor  # (N - share, C, H, W)

    @property
    def seen(self) -> Tensor:
        """(N, C, H, W), where the batch is."""
        return torch.cat([self.climb.points, self.rest]) if len(self.rest) else self.climb.points

    @torch.no_grad()
    def go_on(self, step: Taken) -> None:
        """One step of the attack, by the gradient at `step.point`.

        It is that of the mean of the whole loss: steps have a length of their own, so its scale does not matter.
        """
        gradient, count = step.point.grad, len(self.climb.points)
        assert gradient is not None  # the step was differentiated, with its pictures as leaves
        parts = (step.logits.detach(), step.losses.detach(), gradient)
        logits, losses, gradient = (part[:count] for part in parts)
        self.climb.go_on(logits, (losses,), (gradient,))

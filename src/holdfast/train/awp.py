"""AWP: the loss is descended where the worst small move of the weights has led."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.train.world import World


@dataclass(frozen=True, kw_only=True)
class AWP:
    """Adversarial weight perturbation, around any method: the gradient is taken at w + v, and moves w.

    v is a step up the gradient of the whole loss, of every weight with more than one axis (filters and matrices; not
    biases and norms), and as long as `gamma` times the Euclidean length of that weight. The weights are put back to the
    bit before the optimiser moves them, so that decay and momentum know nothing of v. Batch norm counts its statistics
    once, at w. The source moves w + v and then takes v away, which differs by the decay of v alone.
    Raises: `OptionError` for a `gamma` outside (0, 1) or a `warm_up` below 0.
    Cost: the passes of the loss, without those of the attack, once more.
    Source: Wu, Xia & Wang 2020, arXiv:2004.05884, sec. 4, with one step for v. Its code for TRADES has gamma 0.005 and
    begins after 10 epochs of 200.
    """

    gamma: float = option(0.005, "length of the move, in units of each weight's own length")
    warm_up: int = option(0, "epochs before it begins")
    name: ClassVar[str] = "awp"

    def __post_init__(self) -> None:
        """Check both."""
        if not 0 < self.gamma < 1:
            raise OptionError(f"AWP: gamma={self.gamma!r}; allowed: 0 < gamma < 1. The source has 0.005.")
        if isinstance(self.warm_up, bool) or not isinstance(self.warm_up, int) or self.warm_up < 0:
            raise OptionError(f"AWP: warm_up={self.warm_up!r}; allowed: whole numbers >= 0, in epochs.")

    @contextmanager
    def moved(self, model: nn.Module, loss: Tensor, world: World) -> Iterator[None]:
        """While the block lasts the weights lie where `loss`, a scalar with a graph, is larger."""
        weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        found = torch.autograd.grad(loss, weights, allow_unused=True) if weights else ()
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(weights, found, strict=True)]
        world.add_up(gradients)  # so that all processes move alike
        kept = [p.detach().clone() for p in weights]
        try:
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.add_(self.gamma * move(weight, gradient))
            torch.clear_autocast_cache()
            yield
        finally:
            with torch.no_grad():
                for weight, value in zip(weights, kept, strict=True):
                    weight.copy_(value)
            torch.clear_autocast_cache()


def move(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient, brought to the weight's Euclidean length; zero where it is zero."""
    scaled = gradient / gradient.abs().amax().clamp_min(torch.finfo(gradient.dtype).tiny)  # squares might underflow
    length = torch.linalg.vector_norm(scaled).clamp_min(0.5)  # 1 or more, but for a gradient of zero
    found: Tensor = scaled * (torch.linalg.vector_norm(weight) / length)
    return found

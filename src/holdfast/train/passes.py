"""How many pictures go through a model forward and back, counted where it happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Passes:
    """Pictures that were passed forward, and whose gradients were passed back from the logits."""

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0

    def taken(self) -> tuple[int, int]:
        """Those counted since this was last asked."""
        found = self.forward, self.backward
        self.forward = self.backward = 0
        return found

    def ahead(self, module: nn.Module, given: Any, logits: Tensor) -> None:
        """A forward hook of the model."""
        count = len(logits)
        self.forward += count
        if logits.requires_grad:
            logits.register_hook(lambda gradient: self.back(count))

    def back(self, count: int) -> None:
        """A gradient has arrived at the logits of so many pictures."""
        self.backward += count


@contextmanager
def counted(model: nn.Module) -> Iterator[Passes]:
    """Count the passes of a model while the block lasts."""
    passes = Passes()
    hook = model.register_forward_hook(passes.ahead)
    try:
        yield passes
    finally:
        hook.remove()

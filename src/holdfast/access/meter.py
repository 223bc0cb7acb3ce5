"""What an attack costs, picture by picture, and what it may cost."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most passes a picture may cost; None is no limit. The look at the unchanged picture counts."""

    forward: int | None = None
    backward: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("forward", 1), ("backward", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(
                    f"Budget: {name}={value!r}; allowed: {least}, {least + 1}, ... passes, or None for no limit."
                )


class Meter:
    """Forward and backward passes of each picture, counted where the model is called.

    A pass of a batch of n pictures counts 1 for each of them. Fields: `forward`, `backward`, (N,) int64.
    """

    def __init__(self, pictures: int, device: torch.device | str = "cpu") -> None:
        self.forward = torch.zeros(pictures, dtype=torch.int64, device=device)
        self.backward = torch.zeros(pictures, dtype=torch.int64, device=device)

    def count(self, picture: Tensor, backward: int = 0) -> None:
        """Add one forward pass and `backward` backward passes for each row of `picture` (P,) int64."""
        ones = torch.ones_like(picture)
        self.forward.index_add_(0, picture, ones)
        if backward:
            self.backward.index_add_(0, picture, ones, alpha=backward)

    def affords(self, budget: Budget, picture: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        """(L,) bool: whether each picture may cost that many further passes (L,) within its budget."""
        fine = torch.ones_like(picture, dtype=torch.bool)
        if budget.forward is not None:
            fine &= self.forward[picture] + forward <= budget.forward
        if budget.backward is not None:
            fine &= self.backward[picture] + backward <= budget.backward
        return fine

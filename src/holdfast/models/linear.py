"""One linear layer on the pixels."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from torch import nn

from holdfast.models.parts import Shape, chain


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Logits linear in the pixels: the model whose robustness has a closed form.

    First weights are PyTorch's: uniform within 1/sqrt(C H W). Parameters: (C H W + 1) K.
    """

    least: ClassVar[int] = 1

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        return chain(flat=nn.Flatten(), linear=nn.Linear(prod(shape), classes))

"""The number of changed pixels is bounded, whatever happens to their channels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.threats.l0 import L0

__all__ = ["Pixels"]


@dataclass(frozen=True, kw_only=True)
class Pixels(L0):
    """At most `eps` pixels change, all channels of a pixel together, and stay within [low, high].

    The first axis after the lanes holds the channels; inputs (N, d) have none, so there it is the same as L0.

    Raises: `OptionError` unless low < high, finite, and eps is a whole number >= 0 (shape only for a tensor).
    """

    name: ClassVar[str] = "pixels"

    def _sums(self, values: Tensor) -> Tensor:
        return values.flatten(1) if values.ndim == 2 else values.flatten(2).sum(1)

    def _lengths(self, delta: Tensor) -> Tensor:
        if delta.ndim == 2 or delta.shape[1] == 1:
            return delta.flatten(1).abs()
        length: Tensor = torch.linalg.vector_norm(delta.flatten(2), dim=1)
        return length

    def _spread(self, units: Tensor, like: Tensor) -> Tensor:
        return units if like.ndim == 2 else units.view(len(like), 1, *like.shape[2:])

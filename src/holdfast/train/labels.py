"""What the pictures of a batch are labelled with: a class each, or two with their shares."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """One row a picture. Mixed pictures have the label of the other one and the share of their own."""

    y: Tensor  # (N,) int64
    other: Tensor | None = None  # (N,) int64
    share: Tensor | None = None  # (N,) of the first picture

    @property
    def chief(self) -> Tensor:
        """(N,) int64: the label with the larger share."""
        if self.other is None or self.share is None:
            return self.y
        return torch.where(self.share >= 0.5, self.y, self.other)

    def repeated(self, copies: int) -> Self:
        """All rows, that many times one after the other."""
        if copies == 1:
            return self
        parts: dict[str, Tensor | None] = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        rows = {name: part.repeat(copies) for name, part in parts.items() if part is not None}
        return replace(self, **rows)

"""What the pictures of a batch are labelled with: a class each, or two with their shares."""

from dataclasses import dataclass

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

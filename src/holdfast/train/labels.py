"""What the pictures of a batch are labelled with: a class each, or two with their shares."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """One row a picture. Mixed pictures have the label of the other one and the share of their own."""

    y: Tensor  # (N,) int64
    other: Tensor | None = None  # (N,) int64
    share: Tensor | None = None  # (N,) of the first picture

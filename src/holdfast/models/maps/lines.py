"""A function of straight lines a class."""

import torch
from torch import Tensor, nn

from holdfast.models.maps.one_against_all import against_all


class Lines(nn.Module):
    """The probability of each class through straight lines between knots, level outside, then divided by their sum.

    Answers with log-probabilities. Gradient: exact, so zero where the lines are level and where the floor holds.
    """

    places: Tensor  # (K, P) float64, ascending in each row, filled up with the last one
    heights: Tensor  # (K, P) float64 in [0, 1]
    backward = "exact"

    def __init__(self, classes: int, knots: int) -> None:
        super().__init__()
        line = torch.linspace(0, 1, knots, dtype=torch.float64).repeat(classes, 1)
        self.register_buffer("places", line)
        self.register_buffer("heights", line.clone())

    def sizes(self) -> dict[str, int]:
        """Classes, and knots of the longest one."""
        return {"classes": len(self.places), "knots": self.places.shape[1]}

    def forward(self, logits: Tensor) -> Tensor:
        """(N, K) to (N, K)."""
        places, heights = self.places.double(), self.heights.double()
        p = logits.double().softmax(1).T.contiguous()
        p = torch.minimum(torch.maximum(p, places[:, :1]), places[:, -1:])
        right = torch.searchsorted(places.contiguous(), p.detach()).clamp(1, places.shape[1] - 1)
        from_x, to_x = places.gather(1, right - 1), places.gather(1, right)
        from_y, to_y = heights.gather(1, right - 1), heights.gather(1, right)
        wide = to_x - from_x
        share = torch.where(wide > 0, (p - from_x) / wide.where(wide > 0, 1.0), 0.0)
        return against_all((from_y + share * (to_y - from_y)).T, logits.dtype)

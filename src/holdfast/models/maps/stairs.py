"""A step function a class."""

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from holdfast.models.maps.one_against_all import against_all


class Stairs(nn.Module):
    """The probability of each class through a step function of its own, then divided by their sum.

    Piece j of class k holds for edges[k, j - 1] < p <= edges[k, j]. Answers with log-probabilities.
    Gradient: a step function has none, so the way back is that of the log-probabilities that came in (straight
    through); an attack that wants the exact one would get zeros and find nothing.
    """

    edges: Tensor  # (K, P) float64, ascending in each row, filled up with infinity
    values: Tensor  # (K, P + 1) float64 in [0, 1]
    backward = "straight_through"

    def __init__(self, classes: int, pieces: int) -> None:
        super().__init__()
        self.register_buffer("edges", torch.full((classes, pieces - 1), torch.inf, dtype=torch.float64))
        self.register_buffer("values", torch.full((classes, pieces), 1 / classes, dtype=torch.float64))

    def sizes(self) -> dict[str, int]:
        """Classes, and pieces of the longest step function."""
        return {"classes": len(self.values), "pieces": self.values.shape[1]}

    def forward(self, logits: Tensor) -> Tensor:
        """(N, K) to (N, K)."""
        with torch.no_grad():
            p = logits.double().softmax(1).T.contiguous()
            piece = torch.searchsorted(self.edges.double().contiguous(), p)  # how many edges lie below
            answer = against_all(self.values.double().gather(1, piece).T, logits.dtype)
        if not (torch.is_grad_enabled() and logits.requires_grad):
            return answer
        smooth = log_softmax(logits, 1)
        return answer + (smooth - smooth.detach())  # the difference is 0, and carries the gradient

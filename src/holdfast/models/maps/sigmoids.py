"""A sigmoid a class."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid


class Sigmoids(nn.Module):
    """The log-odds of each class against all others through a sigmoid of its own, then divided by their sum.

    Answers with log-probabilities. Gradient: exact.
    """

    slope: Tensor  # (K,) float64
    shift: Tensor  # (K,) float64
    backward = "exact"

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(classes, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(classes, dtype=torch.float64))

    def sizes(self) -> dict[str, int]:
        """Classes."""
        return {"classes": len(self.slope)}

    def forward(self, logits: Tensor) -> Tensor:
        """(N, K) to (N, K)."""
        odds = log_odds(logits.double())
        q = logsigmoid(odds * self.slope.double() + self.shift.double())
        return (q - q.logsumexp(1, keepdim=True)).to(logits.dtype)


def log_odds(logits: Tensor) -> Tensor:
    """log p / (1 - p) of every class of (N, K) logits, K >= 2, right also where p is 1 but for rounding.

    Only the largest p of a row comes near 1, so for that class alone the others are added up without it.
    """
    top = logits.argmax(1, keepdim=True)
    largest = logits.gather(1, top)
    others = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    log_p = (logits - logits.logsumexp(1, keepdim=True)).scatter(1, top, -1.0)  # any p < 1: it is replaced below
    return (log_p - torch.log1p(-log_p.exp())).scatter(1, top, largest - others)

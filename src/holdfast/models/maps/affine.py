"""An affine function of the logits."""

import torch
from torch import Tensor, nn


class Affine(nn.Module):
    """`weight` times the logits plus `bias`: a weight a class (K,), or a matrix (K, K) with a row a new logit.

    The identity until it is fitted. Gradient: exact.
    """

    weight: Tensor  # (K,) or (K, K) float64
    bias: Tensor  # (K,) float64
    backward = "exact"

    def __init__(self, classes: int, *, full: bool = False) -> None:
        super().__init__()
        ones = torch.ones(classes, dtype=torch.float64)
        self.register_buffer("weight", ones.diag() if full else ones)
        self.register_buffer("bias", torch.zeros_like(ones))

    def sizes(self) -> dict[str, int | bool]:
        """Classes, and whether the weight is a matrix."""
        return {"classes": len(self.bias), "full": self.weight.ndim == 2}

    def forward(self, logits: Tensor) -> Tensor:
        """(N, K) to (N, K)."""
        weight, bias = self.weight.to(logits.dtype), self.bias.to(logits.dtype)
        return (logits @ weight.T if weight.ndim == 2 else logits * weight) + bias

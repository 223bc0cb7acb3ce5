"""Two classes by the sign of a product: the linear model of the toys."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logits 0 and <w, x>, or `balanced` -<w, x> and <w, x>; class 1 where the product is positive either way.

    What is trained on balanced logits sees twice the margin.
    """

    def __init__(self, w: Tensor, *, balanced: bool = False) -> None:
        super().__init__()
        self.w, self.balanced = nn.Parameter(w.clone()), balanced

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 1, D) to (N, 2)."""
        value = x.flatten(1) @ self.w
        return torch.stack([-value if self.balanced else torch.zeros_like(value), value], 1)

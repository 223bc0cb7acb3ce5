"""All logits divided by one number."""

import torch
from torch import Tensor, nn


class Temper(nn.Module):
    """Logits over the temperature T > 0: softer for T > 1, sharper below, and never another prediction.

    Gradient: exact.
    """

    temperature: Tensor  # () float64
    backward = "exact"

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float64))

    def sizes(self) -> dict[str, int]:
        """None: it holds a single number."""
        return {}

    def forward(self, logits: Tensor) -> Tensor:
        """(N, K) to (N, K)."""
        return logits / self.temperature.to(logits.dtype)

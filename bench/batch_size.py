"""What a picture costs in batches of different sizes."""

from typing import Any

import torch
from torch import Tensor, nn

from bench.rounds import interleaved, ratio

SIZES = (1, 4, 16, 64, 128, 250, 500)


def measure(model: nn.Module, x: Tensor, y: Tensor, rounds: int, pictures: int = 500) -> dict[str, Any]:
    """CPU time a picture of a bare forward and input-gradient pass, over that in batches of 250."""
    x, y = x[:pictures], y[:pictures]

    def job(size: int) -> None:
        for start in range(0, len(x), size):
            points = x[start : start + size].requires_grad_()
            loss = nn.functional.cross_entropy(model(points), y[start : start + size], reduction="sum")
            torch.autograd.grad(loss, points)

    with torch.enable_grad():
        spent = interleaved({str(size): lambda size=size: job(size) for size in SIZES}, rounds)
    return {size: ratio(seconds, spent["250"]).median for size, seconds in spent.items()}

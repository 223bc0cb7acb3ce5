"""Tiny seeded models and cases that the property tables share."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TinyCase:
    """A model in float64, so that rounding flips no sign, and pictures of which it gets nearly all right."""

    model: nn.Module
    x: Tensor
    y: Tensor


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Module:
    """Logits `weight @ pixels + bias` from pictures of any shape."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return nn.Sequential(nn.Flatten(), layer)


def small_net(inputs: int = 18, classes: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Two layers with batch norm and dropout between, so that a forgotten mode shows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs, 24, dtype=dtype),
            nn.BatchNorm1d(24, dtype=dtype),
            nn.Tanh(),
            nn.Dropout(0.5),
            nn.Linear(24, classes, dtype=dtype),
        )


def tiny_case(pictures: int = 40, classes: int = 4, dtype: torch.dtype = torch.float64) -> TinyCase:
    """Pictures (N, 2, 3, 3), labelled by the model itself, two of them wrongly."""
    model = small_net(classes=classes, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(pictures, 2, 3, 3, dtype=dtype, generator=generator)
    x[0] = 0.0  # a picture on the side of the box
    model.eval()
    with torch.no_grad():
        y = model(x).argmax(1)
    model.train()
    y[3:5] = (y[3:5] + 1) % classes
    return TinyCase(model, x, y)

"""The optimiser, and which weights it pulls towards 0."""

from typing import Any

import torch
from torch import Tensor, nn, optim

from holdfast.errors import ModelError
from holdfast.train.options import TrainOptions


def make_optimiser(model: nn.Module, options: TrainOptions) -> optim.Optimizer:
    """The optimiser over the weights that are not frozen."""
    groups = groups_of(model, options)
    if not groups:
        raise ModelError("the model has no weights to train; allowed: at least one with requires_grad=True.")
    fused = all(fusible(weight) for group in groups for weight in group["params"])
    if options.optimiser == "sgd":
        momentum = options.momentum
        return optim.SGD(groups, options.peak, momentum=momentum, nesterov=momentum > 0, fused=fused)
    kind = optim.AdamW if options.optimiser == "adamw" else optim.Adam
    return kind(groups, options.peak, fused=fused)


def fusible(weight: Tensor) -> bool:
    """Whether torch can move it in one kernel with the others: on small networks, in a third of the time."""
    return weight.device.type in ("cpu", "cuda") and weight.dtype in (torch.float32, torch.float64)


def groups_of(model: nn.Module, options: TrainOptions) -> list[dict[str, Any]]:
    """The weights, those that decay first. Vectors are biases and what batch norm scales by."""
    free = [p for p in model.parameters() if p.requires_grad]
    spared = [p for p in free if p.ndim <= 1] if options.decay == "weights" else []
    known = set(map(id, spared))
    pulled = [p for p in free if id(p) not in known]
    groups = [(pulled, options.weight_decay), (spared, 0.0)]
    return [{"params": weights, "weight_decay": decay} for weights, decay in groups if weights]

"""The optimiser, and which weights it pulls towards 0."""

from typing import Any

from torch import nn, optim

from holdfast.errors import ModelError
from holdfast.train.options import TrainOptions


def make_optimiser(model: nn.Module, options: TrainOptions) -> optim.Optimizer:
    """The optimiser over the weights that are not frozen."""
    groups = groups_of(model, options)
    if not groups:
        raise ModelError("the model has no weights to train; allowed: at least one with requires_grad=True.")
    if options.optimiser == "sgd":
        momentum = options.momentum
        return optim.SGD(groups, options.peak, momentum=momentum, nesterov=momentum > 0)
    kind = optim.AdamW if options.optimiser == "adamw" else optim.Adam
    return kind(groups, options.peak)


def groups_of(model: nn.Module, options: TrainOptions) -> list[dict[str, Any]]:
    """The weights, those that decay first. Vectors are biases and what batch norm scales by."""
    free = [p for p in model.parameters() if p.requires_grad]
    spared = [p for p in free if p.ndim <= 1] if options.decay == "weights" else []
    known = set(map(id, spared))
    pulled = [p for p in free if id(p) not in known]
    groups = [(pulled, options.weight_decay), (spared, 0.0)]
    return [{"params": weights, "weight_decay": decay} for weights, decay in groups if weights]

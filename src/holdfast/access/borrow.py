"""The user's model is borrowed: used in evaluation mode, without parameter gradients, and given back as found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Model = Callable[[Tensor], Tensor]
"""Pictures in the threat's box, float (N, C, H, W), to logits (N, K). A `torch.nn.Module` or any callable."""


@contextmanager
def borrow(model: Model) -> Iterator[Model]:
    """Lend `model` in evaluation mode with frozen parameters; restore every flag at the end, on errors too.

    The mode is kept module by module, so a batch norm that its owner froze stays frozen. Gradients are to be taken
    by `torch.autograd.grad` on the pictures; the parameters' `.grad` fields are never touched.
    """
    if not isinstance(model, nn.Module):
        yield model
        return
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        with resting(model):
            yield model
    finally:
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)


@contextmanager
def resting(model: nn.Module) -> Iterator[nn.Module]:
    """`model` in evaluation mode; every module's mode is restored at the end, on errors too."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        # Set directly: `eval()` may be overridden, and would not say what it changed.
        for module, _ in modes:
            module.training = False
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


def float_type(model: Model) -> torch.dtype:
    """The float type a model computes in: that of its first floating parameter, else float32."""
    if isinstance(model, nn.Module):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.float32


def home(model: Model, fallback: Tensor) -> torch.device:
    """The device a model computes on: that of its first parameter or buffer, else that of `fallback`."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return fallback.device


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same values; one that is not a number is the same as another."""
    if not a.is_floating_point():
        return torch.equal(a, b)
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a[~a.isnan()], b[~b.isnan()])

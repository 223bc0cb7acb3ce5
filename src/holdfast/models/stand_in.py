"""A stand-in for a model while it is attacked: the same function up to rounding, cheaper to differentiate.

Batch norms are folded into the convolutions before them, input gradients of convolutions take the form that a plan
names, and activations are laid out channels last where the plan says so. What it does not know it leaves alone.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from holdfast.errors import ModelError, OptionError
from holdfast.models.convolution import FORMS, Form, convolution, is_plain


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a stand-in is built. Two stand-ins of one model and one plan are equal bit for bit."""

    channels_last: bool = False  # activations as (N, H, W, C) in memory
    forms: tuple[tuple[str, Form], ...] = ()  # of convolutions, by name in the model; the framework's if not named

    def to_plain(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"channels_last": self.channels_last, "forms": dict(self.forms)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Plan":
        """From a JSON file. Raises: `OptionError` for a form that is not known."""
        forms = dict(plain["forms"])
        for name, form in forms.items():
            if form not in FORMS:
                raise OptionError(f"stand-in: {name}={form!r}; allowed: {', '.join(FORMS)}. Begin the run anew.")
        return cls(channels_last=bool(plain["channels_last"]), forms=tuple(forms.items()))


class StandIn(nn.Module):
    """A copy of a model that shares its weights but for folded ones; only input gradients can be taken."""

    def __init__(self, model: nn.Module, channels_last: bool, folded: int) -> None:
        super().__init__()
        self.model = model
        self.channels_last = channels_last
        self.folded = folded  # batch norms that became part of a convolution
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.model(_in_layout(x, self.channels_last))
        return logits


class _Layout(torch.autograd.Function):
    """Perhaps another layout going in, and the usual one coming back, since that is what attacks compute with."""

    @staticmethod
    def forward(context: Any, x: Tensor, channels_last: bool) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.contiguous(), None


_in_layout: Callable[[Tensor, bool], Tensor] = _Layout.apply  # which torch gives no types


def stand_in(model: nn.Module, plan: Plan) -> StandIn:
    """A stand-in for `model` in evaluation mode. The model is neither changed nor kept from being changed.

    Raises: `ModelError` for a model that cannot be copied, that carries hooks (which a copy might call behind its
    owner's back), or that has no convolution of a name in the plan.
    Cost: no pass; memory for folded weights only.
    """
    if any(_hooks(module) for module in model.modules()):
        raise ModelError("stand-in: a module of the model has hooks; allowed: none. Take them off, or do without.")
    copied = _copy(model)
    exchanged, folded, forms = convolutions(copied), foldable(copied), dict(plan.forms)
    if absent := sorted(set(forms) - set(exchanged)):
        raise ModelError(f"stand-in: the model has no plain convolution {absent[0]!r}, which the plan names.")
    for name, layer in exchanged.items():
        norm = folded.get(name)
        weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
        if norm is not None:
            weight, bias = fold(weight, bias, _part(copied, norm))
            exchange(copied, norm, nn.Identity())
        if plan.channels_last:
            weight = weight.contiguous(memory_format=torch.channels_last)
        exchange(copied, name, convolution(layer, weight, bias, forms.get(name, "framework")))
    return StandIn(copied, plan.channels_last, len(folded)).eval()


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions that can be exchanged, by name, in the order of the model."""
    named = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    return {name: layer for name, layer in named.items() if name and is_plain(layer)}


def foldable(model: nn.Module) -> dict[str, str]:
    """The names of convolutions to those of the batch norms that directly follow them and that nothing else feeds.

    Empty where the model's course depends on its pictures, so that it cannot be followed ahead of time.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            graph = fx.Tracer().trace(model.eval())
    except Exception:  # whatever user code raises at a tensor without values
        return {}
    calls = [node for node in graph.nodes if node.op == "call_module"]
    targets = [node.target for node in calls]
    plain = convolutions(model)
    pairs = {}
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        once = targets.count(node.target) == targets.count(source.target) == 1
        if once and source.target in plain and _folds(_part(model, str(node.target))):
            pairs[str(source.target)] = str(node.target)
    return pairs


def fold(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution and the batch norm after it, computed in float64.

    norm(w x + b) = g (w x + b - m) / sqrt(v + e) + h is a convolution with weight w g / sqrt(v + e) and bias
    (b - m) g / sqrt(v + e) + h.
    """
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    old = torch.zeros_like(scale) if bias is None else bias.double()
    shifted = (old - norm.running_mean.double()) * scale
    if norm.affine:
        shifted = shifted + norm.bias.detach().double()
    return (weight.double() * scale.view(-1, 1, 1, 1)).to(weight.dtype), shifted.to(weight.dtype)


def _folds(module: nn.Module) -> bool:
    return type(module) is nn.BatchNorm2d and module.running_mean is not None and module.running_var is not None


def _copy(model: nn.Module) -> nn.Module:
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        return copy.deepcopy(model, shared)
    except Exception as error:  # a lock, a handle, a generator: whatever the user's module holds
        raise ModelError(
            f"stand-in: the model cannot be copied ({type(error).__name__}: {' '.join(str(error).split())[:120]})."
        ) from error


def _hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _part(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)


def exchange(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put another module in the place of a part, wherever that occurs: one that is used twice has two names."""
    old = _part(model, name)
    for parent in list(model.modules()):  # before the new one, which may hold the old one, is among them
        for key, child in list(parent._modules.items()):  # named_children leaves out a repeated one
            if child is old:
                setattr(parent, key, module)

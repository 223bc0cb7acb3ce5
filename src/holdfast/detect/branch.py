"""A layer inside a classifier: where one is, what it says in the classifier's own pass, and a small head behind it."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from holdfast.access.borrow import borrow, float_type, home
from holdfast.draws import Draws
from holdfast.errors import ModelError
from holdfast.models.parts import conv

SMALL = 4  # pixels: a map that a head averages over
LISTED = 12  # layers named in an error
ALIKE = 1e-3  # of how far two pictures' logits lie apart: nearer than that they are the same but for rounding


@dataclass(frozen=True)
class Layer:
    """A module that is asked once in a pass."""

    name: str  # as `named_modules` has it
    shape: tuple[int, ...]  # of its answer to one picture, (C, H, W) or (D,)
    depth: float  # share of the weighted layers that were asked before it had answered


def find(model: nn.Module, shape: Sequence[int], named: str | None = None) -> Layer:
    """The inner layer of that name; without one the layer half way through the model.

    Half way is where half of the weighted layers have been asked, as nearly as can be, among layers that give feature
    maps (C, H, W), or where there are none, vectors. One that shortcuts lead past is taken only if there is no other:
    what all logits depend on can be told from a layer when it is given the same answer for two pictures, and the
    model's answers are then the same too.
    Raises: `ModelError` for a name that no such layer has, which lists those there are, and for a model without any.
    Cost: one forward pass of two pictures, and one for each layer that is tried.
    """
    x = Draws(0, torch.arange(2)).uniform(torch.empty(2, *shape, dtype=float_type(model)))
    x = x.to(home(model, x))
    with torch.no_grad(), borrow(model):
        known = layers(model, x)
        maps = [layer for layer in known if len(layer.shape) == 3] or known
        if named is not None:
            maps = [layer for layer in known if layer.name == named]
        if not maps:
            raise missing(model, known, named)
        maps.reverse()  # sorting keeps the order of equals: what answers last goes first
        nearest = sorted(maps, key=lambda layer: round(abs(layer.depth - 0.5), 6))
        return next((layer for layer in nearest if all_passes(model, x, layer)), nearest[0])


def missing(model: nn.Module, known: Sequence[Layer], named: str | None) -> ModelError:
    """That there is no such layer."""
    names = [repr(layer.name) for layer in known][-LISTED:]
    listed = ", ".join(["..."] * (len(known) > LISTED) + names) or "none"
    what = f"no inner layer of {type(model).__name__}" if named is None else f"layer {named!r} is no inner layer"
    mend = "Name one of those" if known else "Take a network of its own, form=separate"
    return ModelError(
        f"{what}; allowed: one that is asked once in a pass, between the weighted layers, and answers N pictures with "
        f"(N, C, H, W) or (N, D): {listed}. {mend}."
    )


def layers(model: nn.Module, x: Tensor) -> list[Layer]:
    """The inner layers, in the order in which they answer: behind a weighted layer, and before the last one's answer.

    Cost: one forward pass.
    """
    answers: list[tuple[str, object, int]] = []  # name, answer, weighted layers asked
    asked = 0

    def note(name: str, module: nn.Module, answer: object) -> None:
        nonlocal asked
        asked += weighted(module)
        answers.append((name, answer, asked))

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hook = module.register_forward_hook(lambda m, _, answer, name=name: note(name, m, answer))
                hooks.callback(hook.remove)
        model(x)
    times = [name for name, _, _ in answers]
    return [
        Layer(name, tuple(answer.shape[1:]), before / asked)
        for name, answer, before in answers
        if isinstance(answer, Tensor) and times.count(name) == 1 and 0 < before < asked and fits(answer, len(x))
    ]


def weighted(module: nn.Module) -> bool:
    """Whether it multiplies by weights of its own, as convolutions and linear layers do."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2


def fits(answer: Tensor, n: int) -> bool:
    """Whether an answer is floats (n, C, H, W) or (n, D)."""
    return answer.is_floating_point() and answer.ndim in (2, 4) and len(answer) == n


def all_passes(model: nn.Module, x: Tensor, layer: Layer) -> bool:
    """Whether all that the logits depend on passes through a layer. `x` are two pictures. Cost: two forward passes."""
    apart = float((logits := model(x)).sub(logits[:1]).abs().max())
    hook = model.get_submodule(layer.name).register_forward_hook(lambda _, __, answer: answer[:1].expand_as(answer))
    try:
        alike = model(x)
    finally:
        hook.remove()
    return float((alike - alike[:1]).abs().max()) <= ALIKE * apart


def listen(model: nn.Module, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, K) of pictures, and what the layer says in the same pass, with its gradient.

    Raises: `ModelError` for a model without that layer, or where it is not asked once. Cost: one forward pass.
    """
    heard: list[Tensor] = []
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise ModelError(
            f"{type(model).__name__} has no layer {name!r}, off which the detector branches; allowed: the model that "
            "it was fitted beside. Fit it anew for another."
        ) from None
    hook = module.register_forward_hook(lambda _, __, answer: heard.append(answer))
    try:
        logits = model(x)
    finally:
        hook.remove()
    if len(heard) != 1:
        raise ModelError(f"layer {name!r} was asked {len(heard)} times in one pass; allowed: once. Name another layer.")
    return logits, heard[0]


def head(shape: tuple[int, ...], channels: int) -> nn.Sequential:
    """From what a layer says, (N, C, H, W) or (N, D), to two logits: clean, adversarial.

    Maps go through 3x3 convolutions of stride 2, one or as many as bring them down to a side of `SMALL`, and are
    averaged; vectors through a linear layer. Batch norm and ReLU stand behind each. Then comes one hidden layer.
    """
    parts: list[nn.Module] = []
    if len(shape) == 1:
        parts += [nn.Linear(shape[0], channels, bias=False), nn.BatchNorm1d(channels), nn.ReLU()]
    else:
        inputs, side = shape[0], max(shape[1:])
        while not parts or side > SMALL:
            parts += [conv(inputs, channels, 3, stride=2, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            inputs, side = channels, (side + 1) // 2
        parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, 2))


def folded(network: nn.Sequential) -> nn.Sequential:
    """A head in evaluation mode whose batch norms have become weights of the layers before them: the same, sooner."""
    parts: list[nn.Module] = []
    for part in network:
        before = parts[-1] if parts else None
        if isinstance(part, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            parts[-1] = fuse_conv_bn_eval(before, part)
        elif isinstance(part, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            parts[-1] = fuse_linear_bn_eval(before, part)
        else:
            parts.append(part)
    return nn.Sequential(*parts)

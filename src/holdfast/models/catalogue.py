"""The architectures by name, and how one is built.

Adding one: a file with a frozen record (`network(shape, classes)` makes the module, `least` is the smallest
side of a picture it takes), one line here, one row in the test table.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import nn

from holdfast.errors import OptionError, unknown
from holdfast.models.cnn import CNN
from holdfast.models.ensemble import EnsembleOf
from holdfast.models.linear import Linear
from holdfast.models.mc_dropout import MonteCarloDropoutOf
from holdfast.models.members import Joining
from holdfast.models.mlp import MLP
from holdfast.models.normalized import PIXELS, Normalized, check_statistics
from holdfast.models.parts import Shape
from holdfast.models.preact_resnet import PreActResNet
from holdfast.models.resnet import BottleneckResNet, ResNet
from holdfast.models.resnext import ResNeXt
from holdfast.models.stacked import StackedOf
from holdfast.models.user import is_user_model
from holdfast.models.user_net import UserNet
from holdfast.models.wide_resnet import WideResNet
from holdfast.options import parse


class Architecture(Protocol):
    """A frozen record of options that makes a network."""

    least: ClassVar[int]  # smallest height and width of a picture

    def network(self, shape: Shape, classes: int) -> nn.Module:
        """A fresh network from pictures of `shape` (C, H, W) to `classes` logits."""
        ...


# Each name is a record with its usual options; options given by the user replace fields of it.
ARCHITECTURES: dict[str, Architecture] = {
    "linear": Linear(),
    "mlp": MLP(),
    "cnn": CNN(),
    "resnet8": ResNet(depth=8),
    "resnet20": ResNet(depth=20),
    "resnet50": BottleneckResNet(),
    "preact-resnet18": PreActResNet(),
    "resnext34": ResNeXt(),
    "wide-resnet-28-10": WideResNet(),
}
# Made of trained models, never trained themselves; a card names what its members are.
JOINED: dict[str, type[Joining]] = {"ensemble": EnsembleOf, "mc-dropout": MonteCarloDropoutOf, "stacked": StackedOf}


def architecture(name: str, options: Mapping[str, object] | None = None) -> Architecture | Joining:
    """The record of a named architecture, of a user's own FILE.py:FACTORY, or of `JOINED`, with some options replaced.

    Values may be text.
    Raises: `OptionError` for an unknown name or option (with the nearest), or a value out of range.
    """
    if is_user_model(name):
        return parse(UserNet, {**(options or {}), "source": name})
    if name in JOINED:
        return parse(JOINED[name], options or {})
    if name not in ARCHITECTURES:
        raise unknown("model", name, ARCHITECTURES)
    base = ARCHITECTURES[name]
    return parse(type(base), options or {}, base=base)


def build(
    name: str,
    options: Mapping[str, object] | None = None,
    *,
    shape: Shape,
    classes: int,
    mean: Sequence[float] | Literal["pixels"] | None = None,
    std: Sequence[float] | None = None,
    seed: int | None = None,
) -> nn.Module:
    """A fresh model by name, from pictures (N, *shape) in [0, 1] to logits (N, classes), on the CPU, in
    training mode.

    Args: `options` fields of the architecture's record, as values or text; `mean` and `std` one number a
    channel, given together, put `Normalized` around the network, with "pixels" as the mean for a mean picture, black at
    first; `seed` makes the first weights repeatable and leaves the global generator as it was, without it torch's
    global generator is used.
    Raises: `OptionError` for unknown names, values out of range, and pictures too small for the architecture.
    """
    with torch.device("cpu"), _repeatable(seed):
        return _assemble(name, options, shape, classes, mean, std)


def outline(
    name: str,
    options: Mapping[str, object] | None = None,
    *,
    shape: Shape,
    classes: int,
    mean: Sequence[float] | Literal["pixels"] | None = None,
    std: Sequence[float] | None = None,
) -> nn.Module:
    """What `build` makes, without memory behind its weights (torch's meta device): their names and shapes only."""
    with torch.device("meta"), _repeatable(0):
        return _assemble(name, options, shape, classes, mean, std).to("meta")


def _assemble(
    name: str,
    options: Mapping[str, object] | None,
    shape: Shape,
    classes: int,
    mean: Sequence[float] | Literal["pixels"] | None,
    std: Sequence[float] | None,
) -> nn.Module:
    record = architecture(name, options)
    check_shape(name, shape, classes, least=record.least)
    if isinstance(record, Joining):
        return record.join([_member(one, shape, classes) for one in record.members], classes)
    if (mean is None) != (std is None):
        raise OptionError(f"model {name!r}: mean={mean!r}, std={std!r}; allowed: both or neither.")
    if mean is None or std is None:
        return record.network(shape, classes)
    if mean == PIXELS:
        check_statistics((0.0,) * shape[0], std, channels=shape[0])
        return Normalized(record.network(shape, classes), torch.zeros(shape), std)
    if isinstance(mean, str):
        raise OptionError(f"model {name!r}: mean={mean!r}; allowed: a number a channel, or {PIXELS!r}.")
    check_statistics(mean, std, channels=shape[0])
    return Normalized(record.network(shape, classes), mean, std)


def _member(plain: Mapping[str, Any], shape: Shape, classes: int) -> nn.Module:
    return _assemble(plain["architecture"], plain["options"], shape, classes, plain["mean"], plain["std"])


def check_shape(name: str, shape: Shape, classes: int, *, least: int = 1) -> None:
    """Raises: `OptionError` unless `shape` is (C, H, W), no side is under `least` and there are 2 classes or
    more."""
    if len(shape) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in shape):
        raise OptionError(
            f"model {name!r}: shape={shape!r}; allowed: (channels, height, width), whole numbers >= 1, "
            "such as (3, 32, 32)."
        )
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise OptionError(f"model {name!r}: classes={classes!r}; allowed: whole numbers >= 2.")
    if min(shape[1:]) < least:
        fitting = ", ".join(other for other, record in ARCHITECTURES.items() if record.least <= min(shape[1:]))
        raise OptionError(
            f"model {name!r}: pictures of {shape[1]}x{shape[2]} are too small; allowed: sides >= {least}. "
            f"Resize the pictures or take one of: {fitting}."
        )


@contextlib.contextmanager
def _repeatable(seed: int | None) -> Iterator[None]:
    """Seed the CPU generator and put its state back; other devices' generators are never touched."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield

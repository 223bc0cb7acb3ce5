"""Fully connected layers: 784-100-10 on 28x28 pictures of ten classes."""

from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

from torch import nn

from holdfast.errors import OptionError
from holdfast.models.parts import Shape, check_counts, check_dropout
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected hidden layers with ReLU; with the defaults 784-100-10 for MNIST and its kin.

    Batch norm stands before each ReLU, dropout after it. `init="torch"` is PyTorch's uniform within
    1/sqrt(fan-in); `"truncated-normal"` draws weights with standard deviation 0.01, cut at two of them, and
    sets biases to 0 (used with the 784-100-10 net in reports on Fashion-MNIST).
    Parameters without batch norm: sum over layers of (inputs + 1) outputs; 79,510 for 784-100-10.
    """

    hidden: tuple[int, ...] = option((100,), "units of each hidden layer")
    dropout: float = option(0.0, "share of hidden values set to 0 in training")
    batch_norm: bool = option(False, "batch normalisation before each ReLU")
    init: Literal["torch", "truncated-normal"] = option("torch", "how the first weights are drawn")
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        if not self.hidden:
            raise OptionError("MLP: hidden=(); allowed: one or more layers. For none, use the model 'linear'.")
        for units in self.hidden:
            check_counts("MLP", hidden=units)
        check_dropout("MLP", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(flat=nn.Flatten())
        inputs = prod(shape)
        for place, units in enumerate(self.hidden, start=1):
            layers[f"linear{place}"] = nn.Linear(inputs, units)
            if self.batch_norm:
                layers[f"norm{place}"] = nn.BatchNorm1d(units)
            layers[f"relu{place}"] = nn.ReLU()
            if self.dropout:
                layers[f"drop{place}"] = nn.Dropout(self.dropout)
            inputs = units
        layers["linear"] = nn.Linear(inputs, classes)
        network = nn.Sequential(layers)
        if self.init == "truncated-normal":
            _truncated_normal(network)
        return network


def _truncated_normal(network: nn.Module, std: float = 0.01) -> None:
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            nn.init.zeros_(module.bias)

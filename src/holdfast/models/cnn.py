"""A small convolutional net with a width factor."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from holdfast.models.parts import Shape, chain, check_dropout, check_factor, drop, norm
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class CNN:
    """Two 4x4 convolutions of stride 2 (16 and 32 channels), 100 hidden units, ReLU after each.

    `width` multiplies channels and hidden units alike (rounded, at least 1). Both convolutions pad by 1 and
    halve height and width: 28x28 to 7x7, 8x8 to 2x2. Batch norm stands before the ReLU of each convolution,
    dropout after the hidden layer. First weights are PyTorch's, uniform within 1/sqrt(fan-in).
    Parameters at width 1 on 28x28x1 with ten classes: 166,406.

    Source: Wong & Kolter 2018, arXiv:1711.00851, sec. 5.
    """

    width: float = option(1.0, "factor on channels and hidden units")
    dropout: float = option(0.0, "share of hidden values set to 0 in training")
    batch_norm: bool = option(False, "batch normalisation after each convolution")
    least: ClassVar[int] = 4

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        check_factor("CNN", self.width)
        check_dropout("CNN", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        first, second, hidden = (max(1, round(size * self.width)) for size in (16, 32, 100))
        channels, height, width = shape
        return chain(
            conv1=nn.Conv2d(channels, first, 4, stride=2, padding=1),
            norm1=norm(first, self.batch_norm),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(first, second, 4, stride=2, padding=1),
            norm2=norm(second, self.batch_norm),
            relu2=nn.ReLU(),
            flat=nn.Flatten(),
            linear1=nn.Linear(second * (height // 4) * (width // 4), hidden),
            relu3=nn.ReLU(),
            drop=drop(self.dropout),
            linear=nn.Linear(hidden, classes),
        )

"""Residual nets for small pictures: basic blocks (ResNet-8, -20, ...) and bottlenecks (ResNet-50)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import OptionError
from holdfast.models.parts import (
    Add,
    Shape,
    blocks_of_depth,
    chain,
    check_counts,
    check_dropout,
    conv,
    drop,
    head,
    norm,
    stages,
    start_weights,
)
from holdfast.options import option


class PadShortcut(nn.Module):
    """Every second pixel, and zeros for the channels that are new: a shortcut without parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.extra = outputs - inputs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + extra, H / stride, W / stride), rounded up."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def projection(inputs: int, outputs: int, stride: int, batch_norm: bool) -> nn.Module:
    """A 1x1 convolution where channels or stride change, else nothing."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return chain(conv=conv(inputs, outputs, 1, stride=stride, bias=not batch_norm), norm=norm(outputs, batch_norm))


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """Three stages of basic blocks (two 3x3 convolutions) with `width`, 2 `width`, 4 `width` channels.

    `depth` counts the weighted layers: 6 n + 2 for n blocks a stage. Shortcuts that change shape pad with
    zeros, the paper's option A (`"pad"`, no parameters, zeros after the old channels), or project by a 1x1
    convolution with batch norm, option B (`"projection"`). Dropout stands between the two convolutions of a
    block.
    First weights: `parts.start_weights`.
    Parameters on 32x32x3 with ten classes: ResNet-20 269,722 padded, 272,474 projected; ResNet-8 75,290
    padded.

    Source: He et al. 2016, arXiv:1512.03385, sec. 4.2.
    """

    depth: int = option(20, "weighted layers, 6 n + 2")
    width: int = option(16, "channels of the first stage")
    shortcut: Literal["pad", "projection"] = option("pad", "shortcuts that change shape: zeros or a 1x1 convolution")
    dropout: float = option(0.0, "share of values set to 0 in training, inside each block")
    batch_norm: bool = option(True, "batch normalisation after each convolution")
    least: ClassVar[int] = 4

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        blocks_of_depth("ResNet", self.depth, per_block=6, rest=2)
        check_counts("ResNet", width=self.width)
        check_dropout("ResNet", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        blocks = blocks_of_depth("ResNet", self.depth, per_block=6, rest=2)
        widths = [self.width, 2 * self.width, 4 * self.width]
        network = chain(
            conv=conv(shape[0], self.width, 3, bias=not self.batch_norm),
            norm=norm(self.width, self.batch_norm),
            relu=nn.ReLU(),
            stages=stages(self._block, self.width, widths, [blocks] * 3),
            head=head(widths[-1], classes),
        )
        return start_weights(network, batch_norm=self.batch_norm)

    def _block(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        branch = chain(
            conv1=conv(inputs, outputs, 3, stride=stride, bias=not self.batch_norm),
            norm1=norm(outputs, self.batch_norm),
            relu=nn.ReLU(),
            drop=drop(self.dropout),
            conv2=conv(outputs, outputs, 3, bias=not self.batch_norm),
            norm2=norm(outputs, self.batch_norm),
        )
        if self.shortcut == "pad" and (inputs != outputs or stride != 1):
            return Add(PadShortcut(inputs, outputs, stride), branch, nn.ReLU())
        return Add(projection(inputs, outputs, stride, self.batch_norm), branch, nn.ReLU())


@dataclass(frozen=True, kw_only=True)
class BottleneckResNet:
    """Four stages of bottlenecks (1x1, 3x3, 1x1 convolutions); with (3, 4, 6, 3) blocks ResNet-50.

    For small pictures the first layer is a 3x3 convolution of stride 1 without pooling. The 3x3 convolution
    of a block carries its stride (the paper has it in the first 1x1); a block gives out four times its inner
    width. Dropout stands after the 3x3 convolution. First weights: `parts.start_weights`.
    Parameters on 32x32x3 with ten classes: 23,520,842.

    Source: He et al. 2016, arXiv:1512.03385, sec. 4.1.
    """

    blocks: tuple[int, ...] = option((3, 4, 6, 3), "blocks of each of the four stages")
    width: int = option(64, "inner channels of the first stage")
    dropout: float = option(0.0, "share of values set to 0 in training, inside each block")
    batch_norm: bool = option(True, "batch normalisation after each convolution")
    least: ClassVar[int] = 8

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        if len(self.blocks) != 4:
            raise OptionError(f"BottleneckResNet: blocks={self.blocks!r}; allowed: four numbers, such as 3,4,6,3.")
        for blocks in self.blocks:
            check_counts("BottleneckResNet", blocks=blocks)
        check_counts("BottleneckResNet", width=self.width)
        check_dropout("BottleneckResNet", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        widths = [4 * self.width * 2**stage for stage in range(4)]
        network = chain(
            conv=conv(shape[0], self.width, 3, bias=not self.batch_norm),
            norm=norm(self.width, self.batch_norm),
            relu=nn.ReLU(),
            stages=stages(self._block, self.width, widths, self.blocks),
            head=head(widths[-1], classes),
        )
        return start_weights(network, batch_norm=self.batch_norm)

    def _block(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        inner = outputs // 4
        branch = chain(
            conv1=conv(inputs, inner, 1, bias=not self.batch_norm),
            norm1=norm(inner, self.batch_norm),
            relu1=nn.ReLU(),
            conv2=conv(inner, inner, 3, stride=stride, bias=not self.batch_norm),
            norm2=norm(inner, self.batch_norm),
            relu2=nn.ReLU(),
            drop=drop(self.dropout),
            conv3=conv(inner, outputs, 1, bias=not self.batch_norm),
            norm3=norm(outputs, self.batch_norm),
        )
        return Add(projection(inputs, outputs, stride, self.batch_norm), branch, nn.ReLU())

"""Residual nets of parallel branches: ResNeXt-34 (2x32)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

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


class BranchMean(nn.Module):
    """The mean of equal groups of channels: (N, G C, H, W) to (N, C, H, W)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, G C, H, W) to (N, C, H, W)."""
        count, _, height, width = x.shape
        return x.reshape(count, self.groups, -1, height, width).mean(1)


@dataclass(frozen=True, kw_only=True)
class ResNeXt:
    """Three stages of blocks whose `branches` parallel pairs of 3x3 convolutions are averaged, then added.

    2x32 reads: 2 branches, each as wide as the stage, and a first stage of 32 channels (then 64, 128). The
    reports that use this net give its name only. The layout here is the one of its authors' public code: 5
    blocks a stage, and between stages a 1x1 convolution with batch norm and ReLU, then 2x2 average pooling;
    with stem and linear layer that makes 6 n + 4 = 34 weighted layers for n = 5. Unlike the blocks of the
    ResNeXt paper, no 1x1 convolution stands before or after the branches. Where that code normalises and cuts
    the logits at 0, the linear layer here is plain. Dropout stands between the convolutions of a branch.
    First weights: `parts.start_weights`.
    Parameters on 32x32x3 with ten classes: 3,892,522.

    Source: Xie et al. 2017, arXiv:1611.05431 (idea); github.com/cfinlay/tulip (layout).
    """

    depth: int = option(34, "weighted layers, 6 n + 4")
    branches: int = option(2, "parallel branches of a block")
    width: int = option(32, "channels of the first stage and of each branch in it")
    dropout: float = option(0.0, "share of values set to 0 in training, inside each block")
    batch_norm: bool = option(True, "batch normalisation after each convolution")
    least: ClassVar[int] = 4

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        blocks_of_depth("ResNeXt", self.depth, per_block=6, rest=4)
        check_counts("ResNeXt", branches=self.branches, width=self.width)
        check_dropout("ResNeXt", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        blocks = blocks_of_depth("ResNeXt", self.depth, per_block=6, rest=4)
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
        total = self.branches * outputs
        branch = chain(
            conv1=conv(outputs, total, 3, bias=not self.batch_norm),
            norm1=norm(total, self.batch_norm),
            relu=nn.ReLU(),
            drop=drop(self.dropout),
            conv2=conv(total, total, 3, groups=self.branches, bias=not self.batch_norm),
            norm2=norm(total, self.batch_norm),
            mean=BranchMean(self.branches),
        )
        block = Add(nn.Identity(), branch, nn.ReLU())
        if stride == 1:
            return block
        return chain(
            conv=conv(inputs, outputs, 1, bias=not self.batch_norm),
            norm=norm(outputs, self.batch_norm),
            relu=nn.ReLU(),
            pool=nn.AvgPool2d(stride),
            block=block,
        )

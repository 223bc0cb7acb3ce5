"""Wide residual nets: WideResNet-28-10."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from holdfast.models.parts import (
    PreActBlock,
    Shape,
    blocks_of_depth,
    chain,
    check_counts,
    check_dropout,
    conv,
    head,
    norm,
    stages,
    start_weights,
)
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class WideResNet:
    """Three stages of pre-activation blocks with 16, 32, 64 times `width` channels after 16 at the start.

    `depth` is 6 n + 4 for n blocks a stage, which counts the 1x1 shortcuts of the three stages as the paper
    does. Dropout stands between the convolutions of a block. First weights: `parts.start_weights`.
    Parameters of WideResNet-28-10 on 32x32x3 with ten classes: 36,479,194.

    Source: Zagoruyko & Komodakis 2016, arXiv:1605.07146, sec. 3.
    """

    depth: int = option(28, "layers, 6 n + 4")
    width: int = option(10, "factor on the channels 16, 32, 64")
    dropout: float = option(0.0, "share of values set to 0 in training, inside each block")
    batch_norm: bool = option(True, "batch normalisation before each activation")
    least: ClassVar[int] = 4

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        blocks_of_depth("WideResNet", self.depth, per_block=6, rest=4)
        check_counts("WideResNet", width=self.width)
        check_dropout("WideResNet", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        blocks = blocks_of_depth("WideResNet", self.depth, per_block=6, rest=4)
        widths = [16 * self.width, 32 * self.width, 64 * self.width]
        network = chain(
            conv=conv(shape[0], 16, 3, bias=not self.batch_norm),
            stages=stages(self._block, 16, widths, [blocks] * 3),
            norm=norm(widths[-1], self.batch_norm),
            relu=nn.ReLU(),
            head=head(widths[-1], classes),
        )
        return start_weights(network, batch_norm=self.batch_norm)

    def _block(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        return PreActBlock(inputs, outputs, stride, dropout=self.dropout, batch_norm=self.batch_norm)

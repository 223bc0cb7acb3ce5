"""Residual nets with activation before each convolution: PreActResNet-18."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from holdfast.errors import OptionError
from holdfast.models.parts import (
    PreActBlock,
    Shape,
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
class PreActResNet:
    """Four stages of pre-activation blocks with 64, 128, 256, 512 channels; with 2 blocks each
    PreActResNet-18.

    The first layer is a 3x3 convolution of stride 1; batch norm and ReLU follow the last block, as in the
    paper (some public versions leave them out: 1,024 parameters fewer). Dropout stands between the
    convolutions of a block. First weights: `parts.start_weights`.
    Parameters on 32x32x3 with ten classes: 11,172,170.

    Source: He et al. 2016, arXiv:1603.05027, fig. 1(b) and appendix.
    """

    blocks: tuple[int, ...] = option((2, 2, 2, 2), "blocks of each of the four stages")
    width: int = option(64, "channels of the first stage")
    dropout: float = option(0.0, "share of values set to 0 in training, inside each block")
    batch_norm: bool = option(True, "batch normalisation before each activation")
    least: ClassVar[int] = 8

    def __post_init__(self) -> None:
        """Refuse what no net can be made of."""
        if len(self.blocks) != 4:
            raise OptionError(f"PreActResNet: blocks={self.blocks!r}; allowed: four numbers, such as 2,2,2,2.")
        for blocks in self.blocks:
            check_counts("PreActResNet", blocks=blocks)
        check_counts("PreActResNet", width=self.width)
        check_dropout("PreActResNet", self.dropout)

    def network(self, shape: Shape, classes: int) -> nn.Sequential:
        """From pictures of `shape` to `classes` logits."""
        widths = [self.width * 2**stage for stage in range(4)]
        network = chain(
            conv=conv(shape[0], self.width, 3, bias=not self.batch_norm),
            stages=stages(self._block, self.width, widths, self.blocks),
            norm=norm(widths[-1], self.batch_norm),
            relu=nn.ReLU(),
            head=head(widths[-1], classes),
        )
        return start_weights(network, batch_norm=self.batch_norm)

    def _block(self, inputs: int, outputs: int, stride: int) -> nn.Module:
        return PreActBlock(inputs, outputs, stride, dropout=self.dropout, batch_norm=self.batch_norm)

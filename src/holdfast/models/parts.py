"""What several architectures share: convolutions, the stages of a residual net, first weights, option
checks."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from holdfast.errors import OptionError

Shape = tuple[int, int, int]  # (C, H, W) of one picture


def chain(**modules: nn.Module | None) -> nn.Sequential:
    """Modules one after the other under their names, those that are None left out.

    Names and not numbers, so that the weights of a net with dropout fit the same net without it.
    """
    return nn.Sequential(OrderedDict((name, module) for name, module in modules.items() if module is not None))


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool) -> nn.Conv2d:
    """A convolution that keeps height and width but for its stride (odd kernels)."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=bias)


def norm(channels: int, batch_norm: bool) -> nn.Module | None:
    """Batch normalisation where it is switched on."""
    return nn.BatchNorm2d(channels) if batch_norm else None


def drop(p: float) -> nn.Module | None:
    """Dropout where it is switched on."""
    return nn.Dropout(p) if p > 0 else None


class Add(nn.Module):
    """The sum of a shortcut and a residual branch, then `after` (a ReLU) where the block has one."""

    def __init__(self, shortcut: nn.Module, branch: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.branch = branch
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        total: Tensor = self.shortcut(x) + self.branch(x)
        return total if self.after is None else self.after(total)


class PreActBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions, added to the untouched input.

    Where channels or stride change, the shortcut is a 1x1 convolution of the activated input instead.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.first = chain(norm=norm(inputs, batch_norm), relu=nn.ReLU())
        self.branch = chain(
            conv1=conv(inputs, outputs, 3, stride=stride, bias=not batch_norm),
            norm=norm(outputs, batch_norm),
            relu=nn.ReLU(),
            drop=drop(dropout),
            conv2=conv(outputs, outputs, 3, bias=not batch_norm),
        )
        same = inputs == outputs and stride == 1
        self.project = None if same else conv(inputs, outputs, 1, stride=stride, bias=not batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        active = self.first(x)
        shortcut: Tensor = x if self.project is None else self.project(active)
        total: Tensor = shortcut + self.branch(active)
        return total


def stages(
    block: Callable[[int, int, int], nn.Module], inputs: int, widths: Sequence[int], counts: Sequence[int]
) -> nn.Sequential:
    """`counts[i]` blocks with `widths[i]` output channels; every stage but the first halves height and width.

    Args: `block(inputs, outputs, stride)` makes one block.
    """
    made: list[nn.Module] = []
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
        blocks: list[nn.Module] = []
        for place in range(count):
            blocks.append(block(inputs, width, 2 if stage > 0 and place == 0 else 1))
            inputs = width
        made.append(nn.Sequential(*blocks))
    return nn.Sequential(*made)


def head(features: int, classes: int, dropout: float = 0.0) -> nn.Sequential:
    """Average over the picture, then logits."""
    return chain(
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        drop=drop(dropout),
        linear=nn.Linear(features, classes),
    )


def start_weights(network: nn.Sequential, *, batch_norm: bool) -> nn.Sequential:
    """First weights of a residual net: convolutions from He's normal (variance 2 / fan-in), biases 0.

    Batch norms start at weight 1 and bias 0, the linear layer as PyTorch has it: uniform within
    1/sqrt(fan-in). Without batch norm the last convolution of every branch starts at 0: each block is then
    the identity, where He's weights alone would double the variance block by block.

    Source: He et al. 2015, arXiv:1502.01852, sec. 2.2; the zero start cf. Zhang et al. 2019,
    arXiv:1901.09321.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # Fan-in and not fan-out: PyTorch counts the fan-out of a grouped convolution over all groups.
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if not batch_norm:
        for module in network.modules():
            if isinstance(module, Add | PreActBlock):
                last = [part for part in module.branch.modules() if isinstance(part, nn.Conv2d)][-1]
                nn.init.zeros_(last.weight)
    return network


def check_dropout(name: str, dropout: float) -> None:
    """Raises: `OptionError` unless 0 <= dropout < 1."""
    if not 0 <= dropout < 1:
        raise OptionError(
            f"{name}: dropout={dropout!r}; allowed: 0 <= dropout < 1, the share of values set to 0. Pass 0 for none."
        )


def check_counts(name: str, **counts: int) -> None:
    """Raises: `OptionError` unless every named count is a whole number of at least 1."""
    for option, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise OptionError(f"{name}: {option}={count!r}; allowed: whole numbers >= 1.")


def check_factor(name: str, width: float) -> None:
    """Raises: `OptionError` unless the width factor is finite and positive."""
    if not (math.isfinite(width) and width > 0):
        raise OptionError(
            f"{name}: width={width!r}; allowed: numbers > 0, a factor on the channels; 1 is the plain net."
        )


def blocks_of_depth(name: str, depth: int, *, per_block: int, rest: int) -> int:
    """Blocks in each of three stages of a net of `depth` = `per_block` * blocks + `rest` layers.

    Raises: `OptionError` with the nearest depths that exist.
    """
    blocks = round((depth - rest) / per_block)
    if blocks < 1 or depth != per_block * blocks + rest:
        near = [per_block * n + rest for n in (blocks - 1, blocks, blocks + 1) if n >= 1] or [per_block + rest]
        raise OptionError(
            f"{name}: depth={depth!r}; allowed: {per_block} n + {rest} with n >= 1. "
            f"Near it: {', '.join(str(n) for n in near)}."
        )
    return blocks

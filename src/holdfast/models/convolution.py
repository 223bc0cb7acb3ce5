"""A convolution whose input gradient is computed by the one of several exact forms that is fastest here.

On a CPU the input gradients of strided convolutions are most of what an attack on a small network costs; written as a
matrix product or as a convolution of stride 1 they take a third of the time and differ in rounding alone.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Form = Literal["framework", "product", "stride_one"]
"""How the input gradient is computed: by the framework; as a matrix product whose columns are added up where they came
from (GEMM + col2im); as a convolution of stride 1 with one output a phase, whose phases are then interleaved."""
FORMS: tuple[Form, ...] = get_args(Form)
Pair = tuple[int, int]


class Convolution(nn.Module):
    """The same answers as a plain `nn.Conv2d`, with a chosen form of the input gradient and no weight gradient.

    Args: `weight` (O, C, kh, kw); `bias` (O,) or None; `stride` and `padding` (zeros) in pixels down and across; no
    dilation, no groups. The form "stride_one" needs equal strides.
    """

    weight: Tensor
    bias: Tensor | None
    phases: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, form: Form) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("phases", phases(weight, stride[0]) if form == "stride_one" else None)
        self.stride, self.padding, self.form = stride, padding, form
        # For code that reads the geometry of its layers, as of an nn.Conv2d.
        self.out_channels, self.in_channels = int(weight.shape[0]), int(weight.shape[1])
        self.kernel_size, self.dilation, self.groups = (int(weight.shape[2]), int(weight.shape[3])), (1, 1), 1

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms it could take."""
        return FORMS if self.stride[0] == self.stride[1] else FORMS[:2]

    def with_form(self, form: Form) -> "Convolution":
        """The same convolution with another form of the input gradient."""
        return Convolution(self.weight, self.bias, self.stride, self.padding, form)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H', W')."""
        if self.form == "framework":
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return _convolve(x, self)

    def input_gradient(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        """From the gradient of the output (N, O, H', W') to that of the input, of `shape` (N, C, H, W)."""
        if self.phases is not None:
            return by_stride_one(gradient, self.phases, shape, self.stride[0], self.padding)
        return by_product(gradient, self.weight, shape, self.stride, self.padding)

    def extra_repr(self) -> str:
        """What tells it from others."""
        return f"{tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}, form={self.form!r}"


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, layer: Convolution) -> Tensor:
        context.layer, context.shape = layer, x.shape
        return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.layer.input_gradient(gradient, context.shape), None


_convolve: Callable[[Tensor, Convolution], Tensor] = _Convolve.apply  # which torch gives no types


def by_product(gradient: Tensor, weight: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    """Each output pixel sends its gradient back through the kernel (one matrix product); what arrives is summed."""
    columns = weight.flatten(1).t() @ gradient.flatten(2)
    kernel = (weight.shape[2], weight.shape[3])
    return F.fold(columns, (shape[2], shape[3]), kernel, padding=padding, stride=stride)


def phases(weight: Tensor, stride: int) -> Tensor:
    """The kernels of "stride_one", (C s s, O, J, J'): one for each input channel and each place within the stride.

    An input pixel at s m + r of the padded picture meets kernel row r + s j under output row m - j, so the pixels of
    one r are a convolution of stride 1 with every s-th row of the kernel, turned round.
    """
    outputs, inputs, height, width = weight.shape
    down, across = -(-height // stride), -(-width // stride)
    padded = F.pad(weight, (0, across * stride - width, 0, down * stride - height))
    parted = padded.view(outputs, inputs, down, stride, across, stride).permute(1, 3, 5, 0, 2, 4)
    turned = parted.flip(4, 5).reshape(inputs * stride * stride, outputs, down, across)
    channels_last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    return turned.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def by_stride_one(gradient: Tensor, phases: Tensor, shape: torch.Size, stride: int, padding: Pair) -> Tensor:
    """All phases by one convolution of stride 1, interleaved to the padded picture, of which the middle is kept."""
    whole = F.conv2d(gradient, phases, padding=(phases.shape[2] - 1, phases.shape[3] - 1))
    if stride > 1:
        whole = F.pixel_shuffle(whole, stride)
    (top, left), (height, width) = padding, (shape[2], shape[3])
    # Rows at the lower and right side that no kernel reached have gradient 0.
    missing = max(0, left + width - whole.shape[3]), max(0, top + height - whole.shape[2])
    if any(missing):
        whole = F.pad(whole, (0, missing[0], 0, missing[1]))
    return whole[:, :, top : top + height, left : left + width]


def is_plain(layer: nn.Module) -> bool:
    """Whether `Convolution` can stand for a layer; any other is left alone."""
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    return set(layer.dilation) == {1} and layer.groups == 1 and layer.weight.is_floating_point()


def convolution(layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, form: Form) -> Convolution:
    """A convolution with these weights and the geometry of `layer`, which must be a plain one."""
    assert not isinstance(layer.padding, str)
    stride, padding = (layer.stride[0], layer.stride[1]), (layer.padding[0], layer.padding[1])
    return Convolution(weight, bias, stride, padding, form)

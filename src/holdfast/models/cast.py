"""A model of low precision that takes and gives float32."""

import torch
from torch import Tensor, nn


class Cast(nn.Module):
    """A model that computes in float16 or bfloat16, behind pictures (N, C, H, W) and logits (N, K) in float32.

    Pictures keep their float32 values, so that a radius of 8/255 is not rounded to bfloat16's steps of 1/256; the
    model rounds them itself, as it does in use, and the gradient passes through that rounding unchanged.
    Args: `model` any module; `dtype` the float type of its input.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype

    @property
    def refused(self) -> object:
        """The class by which the model refuses to answer, if it has one (`models.Guarded`)."""
        return getattr(self.model, "refused", None)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of `x`, in float32."""
        logits: Tensor = self.model(x.to(self.dtype))
        return logits.float()

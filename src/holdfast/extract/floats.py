"""Models in half precision, for attacks that compute in float32."""

import torch
from torch import nn

from holdfast.access.borrow import Model, float_type
from holdfast.models import Cast


def takes_float32(model: Model) -> Model:
    """The model, behind a cast if it computes in half precision."""
    own = float_type(model)
    return Cast(model, own) if isinstance(model, nn.Module) and own.itemsize < 4 else model


def wide(model: Model) -> torch.dtype:
    """The float type of pictures for a model: its own, but float32 for one in half precision."""
    own = float_type(model)
    return own if own.itemsize >= 4 else torch.float32

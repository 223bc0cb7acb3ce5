"""Models in half precision, for attacks that compute in float32; and of what type pictures are."""

import torch
from torch import nn

from holdfast.access.borrow import Model, float_type
from holdfast.models import Cast


def takes_float32(model: Model) -> Model:
    """The model, behind a cast if it computes in half precision."""
    own = float_type(model)
    return Cast(model, own) if isinstance(model, nn.Module) and own.itemsize < 4 else model


def picture_type(model: Model) -> torch.dtype:
    """The float type of the pictures under attack: the model's own, but float32 for a model in half precision."""
    own = float_type(model)
    return own if own.itemsize >= 4 else torch.float32

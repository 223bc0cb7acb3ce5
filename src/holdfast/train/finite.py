"""Whether what is trained still has finite numbers, and what to say where it has not."""

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.errors import ModelError
from holdfast.train.options import TrainOptions


def broken(model: nn.Module) -> bool:
    """Whether a weight is NaN or infinite."""
    return not all(bool(p.isfinite().all()) for p in model.parameters())


def finite_on(model: nn.Module, x: Tensor) -> bool:
    """Whether the model answers all pictures with finite logits, in evaluation mode."""
    with borrow(model) as lent, torch.no_grad():
        return bool(lent(x).isfinite().all())


def diverged(options: TrainOptions, where: str, places: Tensor | None = None) -> ModelError:
    """The error for a loss that is NaN or infinite."""
    shown = ""
    if places is not None:
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        shown = f", on the pictures at {', '.join(map(str, places[:3].tolist()))}{more}"
    return ModelError(
        f"training: the loss is no longer finite at {where}{shown}; nothing of it is saved. learning_rate is "
        f"{options.peak:g}; try learning_rate={options.peak / 10:g} or clip=1, and check that the pictures lie in "
        "[0, 1]."
    )

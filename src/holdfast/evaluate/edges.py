"""What is refused before any work is done: one clear line each."""

from collections.abc import Sequence
from typing import cast, get_args

import torch
from torch import Tensor, nn

from holdfast.access import borrow
from holdfast.access.borrow import Model, home
from holdfast.data import Pictures
from holdfast.errors import DataError, HoldfastError, ModelError, OptionError, unknown
from holdfast.evaluate.verify import Norm
from holdfast.threats import Threat

LOOK = 8  # pictures shown to the model before the work begins


def radii(threat: Threat, eps: float | Sequence[float] | None, shape: tuple[int, ...]) -> tuple[Threat, ...]:
    """The threats to evaluate, ascending in eps: those of `eps`, or of `threat` itself where that is None.

    Raises: `OptionError` for no radius, one named twice, one tensor per lane, or one larger than the whole box.
    """
    wanted = threat.eps if eps is None else eps
    if isinstance(wanted, Tensor) and wanted.numel() != 1:
        raise OptionError(
            "evaluate: eps is one radius a picture; allowed: numbers that hold for all. Pass eps=[8/255]."
        )
    listed = sorted(float(e) for e in (wanted if isinstance(wanted, Sequence) else [wanted]))
    if not listed or len(set(listed)) < len(listed):
        raise OptionError(
            f"evaluate: eps={listed}; allowed: at least one radius, each named once, such as [2/255, 8/255]."
        )
    widest = whole_box(threat, shape)
    if listed[-1] > widest:
        raise OptionError(
            f"evaluate: eps={listed[-1]:g}; allowed: up to {widest:g}, the {threat.name} size of the whole box "
            f"[{threat.low:g}, {threat.high:g}]. For 8 grey levels on a [0, 1] scale, pass eps=8/255."
        )
    return tuple(threat.with_eps(e) for e in listed)


def whole_box(threat: Threat, shape: tuple[int, ...]) -> float:
    """The threat's size of the move from one corner of the box to the opposite one: no picture is further away."""
    corner = torch.full((1, *shape), threat.high - threat.low, dtype=torch.float64)
    return float(threat.size(corner))


def norm_of(threat: Threat) -> Norm:
    """The verifier's word for the threat's norm. Raises: `OptionError` for a threat that it cannot measure."""
    for norm in get_args(Norm):
        if norm == threat.name:
            return cast(Norm, norm)
    raise unknown("norm to verify", threat.name, get_args(Norm))


def extent(pictures: Pictures) -> tuple[float, float]:
    """The smallest and largest value that the model will see."""
    low, high = pictures.images.aminmax()
    scale = 255.0 if pictures.images.dtype == torch.uint8 else 1.0
    return float(low) / scale, float(high) / scale


def check_pictures(pictures: Pictures, threat: Threat) -> None:
    """Raise `DataError` for an empty set and for values outside the threat's box, which no attack can respect."""
    if not len(pictures):
        raise DataError(
            f"{pictures.name}: no pictures in split {pictures.split!r}; give at least one (see --limit, --split)."
        )
    low, high = extent(pictures)
    if low < threat.low or high > threat.high:
        scale = " They seem to be on a 0 to 255 scale: divide them by 255." if high > 1.5 * threat.high > 0 else ""
        raise DataError(
            f"{pictures.name}: values from {low:g} to {high:g}; allowed: the threat's box, {threat.low:g} to "
            f"{threat.high:g}.{scale} Normalisation belongs inside the model (holdfast.models.Normalized)."
        )


def check_model(model: Model, pictures: Pictures) -> None:
    """Show the model a few pictures, then one alone; raise `ModelError` unless it answers with logits for every label.

    Cost: one forward pass of up to 9 pictures.
    """
    x = pictures.x(slice(0, LOOK), float_type(model))
    x = x.to(home(model, x))
    with borrow(model) as lent, torch.no_grad():
        for shown in (x, x[:1]):
            _check_answer(_answer(lent, shown), len(shown), pictures)


def _answer(model: Model, x: Tensor) -> object:
    try:
        return model(x)
    except HoldfastError:
        raise
    except Exception as error:
        count = "a single picture" if len(x) == 1 else f"{len(x)} pictures"
        raise ModelError(
            f"the model failed on {count} of shape {tuple(x.shape[1:])}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}. Allowed: any number of pictures (N, C, H, W) of the data's shape."
        ) from error


def _check_answer(logits: object, count: int, pictures: Pictures) -> None:
    given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != count or logits.shape[1] < 2:
        raise ModelError(
            f"the model answered {count} pictures with {given}; allowed: a float tensor ({count}, K) of logits, "
            "K >= 2. Return one row of logits a picture (two columns for a yes/no model)."
        )
    if not logits.is_floating_point():
        raise ModelError(
            f"the model answered with {logits.dtype}; allowed: floating-point logits. Return scores, not labels."
        )
    if not bool(logits.isfinite().all()):
        raise ModelError(
            f"the model answered {int((~logits.isfinite().all(1)).sum())} of {count} unchanged pictures with NaN or "
            "infinity; allowed: finite logits. Check its weights and its normalisation (a standard deviation of 0?)."
        )
    highest = int(pictures.labels.max())
    if highest >= logits.shape[1]:
        raise ModelError(
            f"the model gives {logits.shape[1]} logits but {pictures.name} has label {highest}; allowed: labels from "
            f"0 to {logits.shape[1] - 1}. Use the data set that the model was trained on, or a model with "
            f"{highest + 1} outputs."
        )


def float_type(model: Model) -> torch.dtype:
    """The float type of the pictures that a model takes: that of its first floating parameter, else float32."""
    if isinstance(model, nn.Module):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.float32

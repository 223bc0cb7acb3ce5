"""What is refused before any work is done: one clear line each."""

from collections.abc import Iterable, Sequence
from typing import Any, cast, get_args

import torch
from torch import Tensor

from holdfast.access import borrow
from holdfast.access.borrow import Model, float_type, home
from holdfast.access.floats import picture_type, takes_float32
from holdfast.access.oracle import checked
from holdfast.data import Pictures
from holdfast.errors import DataError, HoldfastError, ModelError, OptionError, unknown
from holdfast.evaluate.precision import alike, tie
from holdfast.evaluate.verify import Norm
from holdfast.threats import AnyThreat, Mask, Masked, Patch, Rendered, norm_name, plain, whole_box

LOOK = 8  # pictures shown to the model before the work begins


def radii(threat: AnyThreat, eps: float | Sequence[float] | None, shape: tuple[int, ...]) -> tuple[AnyThreat, ...]:
    """The threats to evaluate, ascending in eps: those of `eps`, or of `threat` itself where that is None.

    Raises: `OptionError` for no radius, one named twice, one tensor per lane, or one larger than the whole box.
    """
    wanted = threat.eps if eps is None else eps
    if isinstance(wanted, Tensor) and wanted.numel() != 1:
        raise OptionError(
            "evaluate: eps is one radius a picture; allowed: numbers that hold for all. Pass eps=[8/255]."
        )
    if any(isinstance(getattr(threat, name, None), Tensor) for name in ("mask", "place", "spread")):
        raise OptionError(
            f"evaluate: the threat {threat.name} has options for each picture; allowed: one mask or place for all. "
            "Attack with holdfast.attacks.run and judge with holdfast.evaluate.verify, which take one a picture."
        )
    several = isinstance(wanted, Iterable) and not isinstance(wanted, Tensor)
    listed = sorted(float(e) for e in (cast(Iterable[float], wanted) if several else [cast(float, wanted)]))
    if not listed or len(set(listed)) < len(listed):
        raise OptionError(
            f"evaluate: eps={listed}; allowed: at least one radius, each named once, such as [2/255, 8/255]."
        )
    widest = whole_box(threat, shape)
    if listed[-1] > widest and isinstance(threat, Rendered):
        raise OptionError(
            f"evaluate: eps={listed[-1]:g}; allowed: up to {widest:g} {threat.unit}, the most that {threat.name} knows "
            "on these pictures. Name a smaller radius."
        )
    if listed[-1] > widest:
        raise OptionError(
            f"evaluate: eps={listed[-1]:g}; allowed: up to {widest:g}, the {threat.name} size of the whole box "
            f"[{threat.low:g}, {threat.high:g}]. For 8 grey levels on a [0, 1] scale, pass eps=8/255."
        )
    return tuple(threat.with_eps(e) for e in listed)


def norm_of(threat: AnyThreat) -> Norm:
    """The verifier's word for the threat's norm. Raises: `OptionError` for a threat that it cannot measure."""
    name = threat.name if isinstance(threat, Rendered) else norm_name(threat)
    for norm in get_args(Norm):
        if norm == name:
            return cast(Norm, norm)
    raise unknown("norm to verify", name, get_args(Norm))


def measured(threat: AnyThreat, parameters: Tensor | None = None) -> dict[str, Any]:
    """What the verifier is to hold returned pictures to, as arguments of `verify`: facts, no code of the threat's.

    `parameters` as the attack returned them, where the threat renders pictures.
    """
    found: dict[str, Any] = {
        "norm": norm_of(threat),
        "eps": float(threat.eps),
        "low": threat.low,
        "high": threat.high,
    }
    if isinstance(threat, Rendered):
        return {**found, "parameters": parameters, "options": plain(threat)}
    if isinstance(threat, Masked):
        found["mask"] = threat.mask.held.on(torch.device("cpu")) if isinstance(threat.mask, Mask) else threat.mask
    if isinstance(threat, Patch) and not threat.free:
        found["place"] = (0, 0) if isinstance(threat.place, str) else threat.place
    return found


def extent(pictures: Pictures) -> tuple[float, float]:
    """The smallest and largest value that the model will see."""
    low, high = pictures.images.aminmax()
    scale = 255.0 if pictures.images.dtype == torch.uint8 else 1.0
    return float(low) / scale, float(high) / scale


def check_pictures(pictures: Pictures, threat: AnyThreat) -> None:
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


def check_model(model: Model, pictures: Pictures) -> list[list[float]] | None:
    """Show the model a few pictures, then one alone; raise `ModelError` unless it answers with logits for every label.

    Returns by what it can be told from another model: largest logit and mean magnitude of each answer, to four
    digits; None for one that answers the same picture otherwise the second time.
    Cost: forward passes of up to 9 pictures, in two calls.
    """
    x = pictures.x(slice(0, LOOK), picture_type(model))
    x = x.to(home(model, x))
    with borrow(takes_float32(model)) as lent, torch.no_grad():
        first, again = (_logits(lent, shown, pictures) for shown in (x, x[:1]))
    if float((first[:1] - again).abs().max()) > alike(float_type(model), first.device) * float(first[:1].abs().max()):
        return None
    marks = torch.stack([first.amax(1), first.abs().mean(1)], 1).tolist()
    return [[float(f"{value:.4g}") for value in row] for row in marks]


def _logits(model: Model, x: Tensor, pictures: Pictures) -> Tensor:
    logits = checked(_answer(model, x), len(x))
    _check_answer(logits, pictures)
    return logits


def _answer(model: Model, x: Tensor) -> object:
    try:
        return model(x.clone())
    except HoldfastError:
        raise
    except Exception as error:
        count = "a single picture" if len(x) == 1 else f"{len(x)} pictures"
        raise ModelError(
            f"the model failed on {count} of shape {tuple(x.shape[1:])}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}. Allowed: any number of pictures (N, C, H, W) of the data's shape."
        ) from error


def _check_answer(logits: Tensor, pictures: Pictures) -> None:
    if bad := int((~logits.isfinite().all(1)).sum()):
        raise ModelError(
            f"the model answered {bad} of {len(logits)} unchanged pictures with NaN or infinity; "
            "allowed: finite logits. Check its weights and its normalisation (a standard deviation of 0?)."
        )
    highest = int(pictures.labels.max())
    if highest >= logits.shape[1]:
        raise ModelError(
            f"the model gives {logits.shape[1]} logits but {pictures.name} has label {highest}; allowed: labels from "
            f"0 to {logits.shape[1] - 1}. Use the data set that the model was trained on, or a model with "
            f"{highest + 1} outputs."
        )


def tie_of(model: Model, pictures: Pictures) -> float:
    """How close two logits of the model must be to count as equal, as a share of the larger."""
    return tie(float_type(model), home(model, pictures.images))

"""What is checked once, where pictures enter."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from holdfast.attacks.attack import Attack, guarded
from holdfast.attacks.external import External
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.losses import Goal
from holdfast.threats import AnyThreat

Kind = TypeVar("Kind", bound=Attack | External)


def check_pictures(x: Tensor, y: Tensor, threat: AnyThreat, batch: int) -> None:
    """Raise unless the pictures are a float (N, ...) inside the box with one int64 label each."""
    if x.dtype not in (torch.float32, torch.float64) or x.ndim < 2:
        raise DataError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; allowed: float32 or float64 pictures (N, C, H, W). For uint8 "
            "pictures pass x.float() / 255; for a model in half precision wrap it by holdfast.models.Cast."
        )
    if len(x) == 0:
        raise DataError("no pictures were given; allowed: at least one. Check the split and the limit.")
    if y.shape != x.shape[:1] or y.dtype != torch.int64:
        raise DataError(f"y is {y.dtype} of shape {tuple(y.shape)}; allowed: int64 labels ({len(x)},). Pass y.long().")
    low, high = float(x.min()), float(x.max())
    if not (threat.low <= low and high <= threat.high):
        raise DataError(
            f"x lies in [{low:g}, {high:g}]; allowed: the threat's box [{threat.low:g}, {threat.high:g}], without NaN. "
            "Divide 0-255 pictures by 255, or state their box: low=..., high=... in the threat."
        )
    if isinstance(threat.eps, Tensor) and len(threat.eps) != len(x):
        raise OptionError(
            f"{threat.name}: {len(threat.eps)} radii for {len(x)} pictures; allowed: one radius, or one a picture."
        )
    if batch < 1:
        raise OptionError(f"batch={batch!r}; allowed: 1, 2, 3, ... pictures a call. 256 suits most machines.")


def check_place(picture: Tensor | None, x: Tensor) -> Tensor:
    """The places that key the noise, (N,) int64."""
    if picture is None:
        return torch.arange(len(x))
    if picture.shape != x.shape[:1] or picture.dtype != torch.int64:
        raise DataError(
            f"picture is {picture.dtype} of shape {tuple(picture.shape)}; allowed: int64 places ({len(x)},). "
            "Pass each picture's number in its full set, or leave it out."
        )
    return picture


def check_beginning(beginning: Tensor | None, x: Tensor) -> None:
    """Raise unless the pictures to begin at are like those to attack."""
    if beginning is not None and (beginning.shape != x.shape or beginning.dtype != x.dtype):
        raise DataError(
            f"beginning is {beginning.dtype} of shape {tuple(beginning.shape)}; allowed: {x.dtype} {tuple(x.shape)}, "
            "one picture for each of x. Leave it out for the nearest picture of another class."
        )


def check_answer(logits: Tensor, goal: Goal) -> Tensor:
    """The logits of the unchanged pictures, if they are finite and have a column for every label and target."""
    if not bool(logits.isfinite().all()):
        bad = int((~logits.isfinite()).any(1).sum())
        raise ModelError(
            f"the model answers {bad} of {len(logits)} unchanged pictures with NaN or infinity; "
            "allowed: finite logits. Check the weights and the scale of the pictures."
        )
    classes = logits.shape[1]
    for name, labels in (("label", goal.y), ("target", goal.target)):
        if labels is not None and (int(labels.min()) < 0 or int(labels.max()) >= classes):
            raise DataError(
                f"{name}s run from {int(labels.min())} to {int(labels.max())}; allowed: 0 to {classes - 1}, "
                f"as the model has {classes} classes. Use the model's own numbering."
            )
    return logits


def check_target(target: Tensor | None, x: Tensor, device: torch.device) -> Tensor | None:
    """Targets (N,) int64 on the device."""
    if target is None:
        return None
    if target.shape != x.shape[:1] or target.dtype != torch.int64:
        raise DataError(
            f"target is {target.dtype} of shape {tuple(target.shape)}; allowed: int64 classes ({len(x)},). "
            "Pass one class a picture, e.g. torch.full_like(y, 3)."
        )
    return target.to(device)


def check_guarded(attack: Attack, refused: int | None) -> None:
    """Raises: `OptionError` for an attack on a classifier and its detector where there is no detector."""
    if guarded(attack) and refused is None:
        raise OptionError(
            f"{attack.name} attacks a classifier and its detector, and the model has none; allowed: a guarded model. "
            "Fit a detector (`holdfast detect fit`), or take pgd or cw."
        )


def check_attacks(attack: Kind | Sequence[Kind]) -> list[Kind]:
    """The attacks as a list, if there is any."""
    attacks = list(attack) if isinstance(attack, Sequence) else [attack]
    if not attacks:
        raise OptionError("no attack was given; allowed: one, or several in a list. For example PGD().")
    return attacks

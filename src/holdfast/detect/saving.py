"""A guarded model as a folder: the classifier as one of its own, and the detector beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.detect.beneath import BeneathMap
from holdfast.detect.guard import Fitted
from holdfast.detect.registry import described, detector
from holdfast.detect.threshold import Threshold
from holdfast.errors import HoldfastError, ModelError
from holdfast.files import dump_json, sha256, sha256_of_file, write_atomically
from holdfast.models import Card, Recalibrated, read_weights, weights_sha256
from holdfast.models import save as save_model
from holdfast.models.guarded import Guarded

GUARD, VALUES, CLASSIFIER = "guard.json", "guard.safetensors", "classifier"
FORMAT = 1
OWN = (  # what guard.json says of itself; the rest was told
    *("format", "detector", "threshold", "scale", "false_alarms", "n", "misclassified", "classes", "shape"),
    *("beneath_map", "classifier_sha256", "values_sha256"),
)
CLEAN = "clean_suspicion"  # of the pictures that the threshold is from, for thresholds at other rates


def is_guard(folder: Path | str) -> bool:
    """Whether `save` wrote the folder."""
    return (Path(folder) / GUARD).is_file()


def save(folder: Path, fitted: Fitted, card: Card, told: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write a guarded model into `folder`: classifier/ (a model folder), guard.safetensors and guard.json.

    Args: `card` of the classifier; `told` plain JSON on how the detector was fitted. Returns what guard.json holds.
    Raises: `ModelError` for a classifier that the card does not describe; `RunError` where it cannot be written.
    """
    from safetensors.torch import save as to_bytes

    save_model(folder / CLASSIFIER, fitted.model.model, card)
    values = {name: value.detach().cpu().contiguous() for name, value in fitted.model.suspicion.state_dict().items()}
    content = to_bytes({**values, CLEAN: fitted.clean.contiguous()}, {"format": "pt"})
    plain = {
        "format": FORMAT,
        "detector": described(fitted.detector),
        "threshold": float(fitted.model.threshold),
        "scale": float(fitted.model.scale),
        "false_alarms": fitted.threshold.false_alarms,
        "n": fitted.threshold.n,
        "misclassified": fitted.misclassified,
        "classes": fitted.model.classes,
        "shape": list(card.shape),
        "beneath_map": isinstance(fitted.model.suspicion, BeneathMap),
        "classifier_sha256": weights_sha256(fitted.model.model),
        "values_sha256": sha256(content),
        **(told or {}),
    }
    write_atomically(folder / VALUES, content)
    write_atomically(folder / GUARD, dump_json(plain))
    return plain


def load(folder: Path | str, classifier: nn.Module) -> Fitted:
    """The guarded model that `save` wrote, around its classifier, which `models.load` reads from classifier/.

    Raises: `ModelError` for a folder that is damaged, and for another classifier than the detector was fitted beside.
    """
    folder = Path(folder)
    try:
        plain = _read(folder)
        if plain.get("format") != FORMAT:
            raise ModelError(f"{str(folder / GUARD)!r} has format {plain.get('format')!r}; allowed: {FORMAT}.")
        found = weights_sha256(classifier)
        if found != plain["classifier_sha256"]:
            raise ModelError(
                f"the detector in {str(folder)!r} was fitted beside another classifier (weights "
                f"{plain['classifier_sha256'][:12]}, these are {found[:12]}); allowed: that one. Fit one beside this."
            )
        if sha256_of_file(folder / VALUES) != plain["values_sha256"]:
            raise ModelError(f"{str(folder / VALUES)!r} is not the file that {GUARD} was written for. Fit it again.")
        values = read_weights(folder / VALUES)
        clean = values.pop(CLEAN)
        made = detector(plain["detector"]["name"], plain["detector"]["options"])
        beneath = plain.get("beneath_map", False)
        beside = classifier.model if beneath and isinstance(classifier, Recalibrated) else classifier
        suspicion = made.outline(beside, tuple(plain["shape"]))
        suspicion = BeneathMap(suspicion) if beneath else suspicion
        suspicion.restore(values)
        guarded = Guarded(classifier, suspicion, plain["threshold"], plain["scale"], plain["classes"])
        limit = Threshold(plain["threshold"], plain["false_alarms"], plain["n"])
        return Fitted(guarded.eval(), made, limit, plain["misclassified"], clean)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, HoldfastError):
            raise
        raise _damaged(folder, error) from error


def _read(folder: Path) -> dict[str, Any]:
    """What guard.json holds. Raises: `ModelError` for a file that is damaged."""
    try:
        plain = json.loads((folder / GUARD).read_bytes())
        if not isinstance(plain, dict):
            raise TypeError(f"{GUARD} holds no object")
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, error) from error
    return plain


def _damaged(folder: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{str(folder)!r} is no whole guarded model ({type(error).__name__}: {error}). Fit the detector again."
    )


def told(folder: Path | str) -> dict[str, Any]:
    """What `save` was told of how the detector was fitted. Raises: `ModelError` for a damaged folder."""
    plain = _read(Path(folder))
    return {name: value for name, value in plain.items() if name not in OWN}


def check_shape(folder: Path | str, shape: tuple[int, ...]) -> None:
    """Raises: `ModelError` for pictures of another shape than the detector was fitted on, or a damaged folder."""
    held = _read(Path(folder)).get("shape")
    fitted = tuple(held) if isinstance(held, list) else held
    if fitted != tuple(shape):
        raise ModelError(
            f"the detector in {str(folder)!r} was fitted on pictures of shape {fitted}, these are {tuple(shape)}; "
            "allowed: the same. Resize them, or fit a detector on such pictures."
        )

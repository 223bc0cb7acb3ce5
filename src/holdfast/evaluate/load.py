"""The model that is evaluated, as it is named on a command line, with whatever is put around it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from holdfast import detect, models
from holdfast.detect.saving import CLASSIFIER, check_shape
from holdfast.errors import OptionError
from holdfast.models import Opened
from holdfast.models.parts import Shape

__all__ = ["Opened", "open_model"]


def open_model(
    text: str,
    weights: Path | str | None = None,
    *,
    shape: Shape | None = None,
    classes: int | None = None,
    options: Mapping[str, object] | None = None,
) -> Opened:
    """What `holdfast.models.open_model` opens, and guarded models: the folders that `holdfast detect fit` writes.

    The card of a guarded model is its classifier's. Arguments and errors: as there; `ModelError` for a detector that
    was fitted beside another classifier, or on pictures of another shape.
    """
    if not detect.is_guard(text):
        return models.open_model(text, weights, shape=shape, classes=classes, options=options)
    if weights is not None or options:
        raise OptionError(f"model {text!r} is a folder with weights of its own; allowed: neither weights nor options.")
    if shape is not None:
        check_shape(text, shape)
    inside = models.open_model(str(Path(text) / CLASSIFIER), shape=shape, classes=classes)
    return replace(inside, model=detect.load(text, inside.model).model, source=text)

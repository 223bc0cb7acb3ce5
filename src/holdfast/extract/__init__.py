"""What an attacker takes from models: a substitute, pictures that transfer, one change that fools all over.

`through` runs any attack on a source and replays it; `substitute` trains a source on the labels that a model gives;
`fit` makes one change for a whole data set, `replayed` is its attack.
"""

from collections.abc import Mapping
from typing import Any

from holdfast.errors import unknown
from holdfast.extract.replay import load, replayed, save
from holdfast.extract.shared_change import Fit, Fitted, fit, fooled
from holdfast.extract.substitute import Augmentation, Substitute, substitute
from holdfast.extract.through import Through, same_model, through
from holdfast.extract.universal import Universal
from holdfast.extract.universal_deepfool import UniversalDeepFool
from holdfast.options import parse

__all__ = [
    "UNIVERSAL",
    "Augmentation",
    "Fit",
    "Fitted",
    "Substitute",
    "Through",
    "Universal",
    "UniversalDeepFool",
    "build",
    "fit",
    "fooled",
    "load",
    "replayed",
    "same_model",
    "save",
    "substitute",
    "through",
]

UNIVERSAL: dict[str, type[Universal] | type[UniversalDeepFool]] = {
    "universal": Universal,
    "universal-deepfool": UniversalDeepFool,
}
"""Ways to fit a universal perturbation, by name."""


def build(name: str, options: Mapping[str, Any] | None = None) -> Fit:
    """A way to fit by its name, with options as text. Raises: `OptionError` for an unknown name, option or value."""
    if name not in UNIVERSAL:
        raise unknown("universal perturbation", name, UNIVERSAL)
    return parse(UNIVERSAL[name], dict(options or {}))

"""Detectors by name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from holdfast.detect.auxiliary import Auxiliary
from holdfast.detect.density import Density
from holdfast.detect.feature_squeezing import FeatureSqueezing
from holdfast.detect.gradient_norm import GradientNorm
from holdfast.detect.interface import Detector
from holdfast.detect.lid import LID
from holdfast.detect.scored import Scored
from holdfast.errors import unknown
from holdfast.options import parse, to_plain
from holdfast.uncertainty import SCORES, score

OWN: dict[str, type[Any]] = {kind.name: kind for kind in (GradientNorm, Auxiliary, FeatureSqueezing, Density, LID)}


def _of_score(name: str, options: Mapping[str, Any]) -> Detector:
    own = {key: value for key, value in options.items() if key != "layer"}
    return Scored(score=score(name, own), layer=options.get("layer"))


DETECTORS: dict[str, Callable[[Mapping[str, Any]], Detector]] = {
    **{name: partial(parse, kind) for name, kind in OWN.items()},
    **{name: partial(_of_score, name) for name in SCORES},
}
"""What makes each detector of its options, by name: our own, and the scores of `holdfast.uncertainty`."""


def detector(name: str, options: Mapping[str, Any] | None = None) -> Detector:
    """A detector by its name, with options as text. Raises: `OptionError` for an unknown name, option or value."""
    if name not in DETECTORS:
        raise unknown("detector", name, DETECTORS)
    return DETECTORS[name](dict(options or {}))


def described(made: Detector) -> dict[str, Any]:
    """Name and options, from which `detector` makes it again."""
    if isinstance(made, Scored):
        return {"name": made.name, "options": to_plain(made.score) | {"layer": made.layer}}
    return {"name": made.name, "options": to_plain(made)}

"""Knowing that a picture was attacked: detectors beside a classifier, thresholds, and both as one guarded model.

A detector is a frozen record of options (`DETECTORS`, `detector`) whose `fit` gives a `Suspicion`; `fit` adds a
threshold and gives a `Guarded` model, which answers with a class more, refused. Attacks on that model attack classifier
and detector at once: for them a picture that is refused is answered rightly.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from holdfast.detect.gradient_norm import GradientNorm
from holdfast.detect.guard import Fitted, fit, suspicions
from holdfast.detect.interface import Detector
from holdfast.detect.scored import Scored
from holdfast.detect.threshold import Threshold, threshold
from holdfast.errors import unknown
from holdfast.models.guarded import Guarded, Suspicion, refused_class
from holdfast.options import parse
from holdfast.uncertainty import SCORES, score

__all__ = [
    "DETECTORS",
    "Detector",
    "Fitted",
    "GradientNorm",
    "Guarded",
    "Scored",
    "Suspicion",
    "Threshold",
    "detector",
    "fit",
    "refused_class",
    "suspicions",
    "threshold",
]

OWN: dict[str, type[Any]] = {kind.name: kind for kind in (GradientNorm,)}


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

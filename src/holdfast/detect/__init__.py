"""Knowing that a picture was attacked: detectors beside a classifier, thresholds, and both as one guarded model.

A detector is a frozen record of options (`DETECTORS`, `detector`) whose `fit` gives a `Suspicion`; `fit` adds a
threshold and gives a `Guarded` model, which answers with a class more, refused. Attacks on that model attack classifier
and detector at once: for them a picture that is refused is answered rightly.
"""

from holdfast.detect.auxiliary import Auxiliary, AuxiliarySuspicion
from holdfast.detect.beneath import BeneathMap, mended
from holdfast.detect.density import Density
from holdfast.detect.feature_squeezing import FeatureSqueezing
from holdfast.detect.gradient_norm import GradientNorm
from holdfast.detect.guard import Fitted, fit, suspicions
from holdfast.detect.interface import Detector
from holdfast.detect.lid import LID
from holdfast.detect.registry import DETECTORS, OWN, described, detector
from holdfast.detect.saving import is_guard, load, save, told
from holdfast.detect.scored import Scored
from holdfast.detect.threshold import Threshold, threshold
from holdfast.models.guarded import Guarded, Suspicion, refused_class

__all__ = [
    "DETECTORS",
    "LID",
    "OWN",
    "Auxiliary",
    "AuxiliarySuspicion",
    "BeneathMap",
    "Density",
    "Detector",
    "FeatureSqueezing",
    "Fitted",
    "GradientNorm",
    "Guarded",
    "Scored",
    "Suspicion",
    "Threshold",
    "described",
    "detector",
    "fit",
    "is_guard",
    "load",
    "mended",
    "refused_class",
    "save",
    "suspicions",
    "threshold",
    "told",
]

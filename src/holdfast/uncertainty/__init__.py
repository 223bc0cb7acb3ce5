"""What a model does not know: how far its confidence can be trusted and what corrects it, which pictures to leave to
somebody else, the disagreement of ensembles, and scores of how unfamiliar a picture is.

Measures (`ece`, `brier`, ...), recalibrations by name (`RECALIBRATIONS`), each fitted on held-out logits and giving a
map that `holdfast.models.Recalibrated` puts behind the model, selective prediction and conformal sets. Everything works
on logits (N, K) and labels (N,) int64, so on any classifier.
"""

from collections.abc import Mapping
from typing import Any

from holdfast.errors import unknown
from holdfast.options import parse
from holdfast.uncertainty import scores, separation
from holdfast.uncertainty.answered import Answered, answered
from holdfast.uncertainty.aps import APS
from holdfast.uncertainty.bbq import BBQ
from holdfast.uncertainty.bins import Bins, equal_mass, equal_width
from holdfast.uncertainty.bootstrap import Interval, intervals, intervals_of
from holdfast.uncertainty.brier_parts import BrierParts, brier_parts
from holdfast.uncertainty.checks import check
from holdfast.uncertainty.conformal import Conformal, Coverage, Rule, conformal, coverage
from holdfast.uncertainty.disagreement import Disagreement, Mixture, disagreement, mixture
from holdfast.uncertainty.histogram import Histogram
from holdfast.uncertainty.isotonic import Isotonic
from holdfast.uncertainty.judging import Detector, Judged, Judgement, fit, judge
from holdfast.uncertainty.lac import LAC
from holdfast.uncertainty.matrix import Matrix, MatrixODIR
from holdfast.uncertainty.measured import Measured, Outcome, measured, recalibrate
from holdfast.uncertainty.measures import (
    accuracy,
    adaptive_ece,
    brier,
    classwise_ece,
    ece,
    mce,
    nll,
    reliability,
)
from holdfast.uncertainty.noise import noise
from holdfast.uncertainty.pictures import answers, check_apart, halves
from holdfast.uncertainty.platt import Platt
from holdfast.uncertainty.raps import RAPS
from holdfast.uncertainty.recalibration import Recalibration
from holdfast.uncertainty.scores import SCORES, score
from holdfast.uncertainty.selective import RiskCoverage, Threshold, risk_coverage, threshold
from holdfast.uncertainty.temperature import Temperature
from holdfast.uncertainty.vector import Vector

__all__ = [
    "APS",
    "BBQ",
    "LAC",
    "RAPS",
    "RECALIBRATIONS",
    "SCORES",
    "SETS",
    "Answered",
    "Bins",
    "BrierParts",
    "Conformal",
    "Coverage",
    "Detector",
    "Disagreement",
    "Histogram",
    "Interval",
    "Isotonic",
    "Judged",
    "Judgement",
    "Matrix",
    "MatrixODIR",
    "Measured",
    "Mixture",
    "Outcome",
    "Platt",
    "Recalibration",
    "RiskCoverage",
    "Rule",
    "Temperature",
    "Threshold",
    "Vector",
    "accuracy",
    "adaptive_ece",
    "answered",
    "answers",
    "brier",
    "brier_parts",
    "build",
    "check",
    "check_apart",
    "classwise_ece",
    "conformal",
    "coverage",
    "disagreement",
    "ece",
    "equal_mass",
    "equal_width",
    "fit",
    "halves",
    "intervals",
    "intervals_of",
    "judge",
    "mce",
    "measured",
    "mixture",
    "nll",
    "noise",
    "recalibrate",
    "reliability",
    "risk_coverage",
    "score",
    "scores",
    "separation",
    "threshold",
]

RECALIBRATIONS: dict[str, type[Recalibration]] = {
    kind.name: kind for kind in (Temperature, Vector, Matrix, MatrixODIR, Histogram, Isotonic, BBQ, Platt)
}
"""Recalibrations by name."""

SETS: dict[str, type[Rule]] = {kind.name: kind for kind in (LAC, APS, RAPS)}
"""Rules of conformal sets by name."""


def build(name: str, options: Mapping[str, Any] | None = None) -> Recalibration:
    """A recalibration by its name, with options as text. Raises: `OptionError` for an unknown name, option or value."""
    if name not in RECALIBRATIONS:
        raise unknown("recalibration", name, RECALIBRATIONS)
    return parse(RECALIBRATIONS[name], dict(options or {}))

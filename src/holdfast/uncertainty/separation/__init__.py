"""How well suspicion tells unfamiliar pictures from familiar ones."""

from holdfast.uncertainty.separation.auroc import auroc, delong
from holdfast.uncertainty.separation.bootstrap import Estimate, Separation, separate
from holdfast.uncertainty.separation.counts import check_scores
from holdfast.uncertainty.separation.false_positives import false_positives, threshold
from holdfast.uncertainty.separation.precision import average_precision
from holdfast.uncertainty.separation.roc import roc

__all__ = [
    "Estimate",
    "Separation",
    "auroc",
    "average_precision",
    "check_scores",
    "delong",
    "false_positives",
    "roc",
    "separate",
    "threshold",
]

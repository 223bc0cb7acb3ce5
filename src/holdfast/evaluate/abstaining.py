"""Which pictures to leave unanswered, and how many classes to name: chosen on some answers, counted on others."""

from typing import Any

from torch import Tensor

from holdfast.evaluate.statistics import Rate
from holdfast.options import to_plain
from holdfast.uncertainty import SETS, RiskCoverage, conformal, coverage, threshold
from holdfast.uncertainty.measures import confidence

Answers = tuple[Tensor, Tensor]  # logits (N, K) and labels (N,)
POINTS = 200  # of the curve that are written


def selective(fitted: Answers, reported: Answers, curve: RiskCoverage, risk: float) -> dict[str, Any]:
    """The threshold for the wanted risk, chosen on the one and counted on the other, and the curve."""
    found = threshold(*confidence(*fitted), risk=risk)
    plain: dict[str, Any] = {"risk": risk, "threshold": None, "aurc": curve.area, "curve": _thinned(curve)}
    if found is not None:
        said, right = confidence(*reported)
        taken = found.accepts(said)
        accepted, wrong = int(taken.sum()), int((taken & ~right).sum())
        plain["threshold"] = {
            "confidence_above": max(found.above, 0.0),
            "bound": found.bound,
            "delta": found.delta,
            "fitted": {"accepted": found.accepted, "wrong": found.wrong, "n": found.n},
            "coverage": Rate(accepted, len(right)).to_plain(),
            "errors": Rate(wrong, accepted).to_plain() if accepted else None,
        }
    return plain


def _thinned(curve: RiskCoverage) -> list[list[float]]:
    """Some points of the risk-coverage curve, the last one always."""
    n = len(curve.risk)
    places = sorted({min(n - 1, n * step // POINTS) for step in range(1, POINTS + 1)})
    return [[float(curve.coverage[p]), float(curve.risk[p])] for p in places]


def sets(
    fitted: Answers, reported: Answers, places: tuple[Tensor, Tensor], alpha: float, seed: int
) -> list[dict[str, Any]]:
    """Each rule's level, made on the one, and its coverage of the other; `places` key the draws of both."""
    rows = []
    for kind in SETS.values():
        made = conformal(kind(), *fitted, alpha=alpha, seed=seed, place=places[0])
        found = coverage(made.sets(reported[0], places[1]), reported[1])
        rule: dict[str, Any] = {"rule": kind.name, "options": to_plain(made.rule), "alpha": alpha}
        rows.append({**rule, "level": made.level, **found.to_plain()})
    return rows

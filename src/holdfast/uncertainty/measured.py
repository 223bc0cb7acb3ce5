"""A classifier before and after recalibration, on pictures that nothing was fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from holdfast.models.maps import Map, Temper
from holdfast.options import to_plain
from holdfast.uncertainty.bins import BINS, Bins
from holdfast.uncertainty.bootstrap import Interval, intervals
from holdfast.uncertainty.brier_parts import BrierParts, brier_parts
from holdfast.uncertainty.checks import check
from holdfast.uncertainty.measures import classwise_ece, confidence, reliability
from holdfast.uncertainty.recalibration import Recalibration
from holdfast.uncertainty.selective import RiskCoverage, risk_coverage
from holdfast.uncertainty.temperature import Temperature, at_bound


@dataclass(frozen=True, eq=False)
class Measured:
    """All measures of some logits: those with an interval, the others, bins, and risk against coverage."""

    measures: dict[str, Interval]
    classwise_ece: float
    parts: BrierParts
    bins: Bins
    curve: RiskCoverage

    def to_plain(self) -> dict[str, Any]:
        """For JSON: each measure as a number, the ends of intervals beside."""
        return {
            **{name: one.value for name, one in self.measures.items()},
            "classwise_ece": self.classwise_ece,
            "aurc": self.curve.area,
            "aurc_excess": self.curve.excess,
            "intervals": {name: [one.low, one.high] for name, one in self.measures.items()},
            "brier_parts": to_plain(self.parts),
            "bins": self.bins.to_plain(),
        }


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one method makes of the model: `changed` predictions, of which `mended` became right and `broken` wrong."""

    method: Recalibration
    map: Map
    seconds: float  # of fitting
    before: Measured
    after: Measured
    changed: int
    mended: int
    broken: int
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """For JSON; without the seconds, so that equal runs are equal."""
        return {
            "method": self.method.name,
            "options": to_plain(self.method),
            "before": self.before.to_plain(),
            "after": self.after.to_plain(),
            "changed": self.changed,
            "mended": self.mended,
            "broken": self.broken,
            "notes": list(self.notes),
        }


def measured(logits: Tensor, labels: Tensor, *, bins: int = BINS, resamples: int = 1000, seed: int = 0) -> Measured:
    """Every measure of logits (N, K) against labels (N,) int64. Raises: as `uncertainty.check`."""
    found, y = check(logits, labels)
    said, right = confidence(found, y)
    return Measured(
        intervals(found, y, bins=bins, resamples=resamples, seed=seed),
        classwise_ece(found, y, bins),
        brier_parts(found, y, bins),
        reliability(found, y, bins),
        risk_coverage(said, right),
    )


def recalibrate(
    methods: Sequence[Recalibration],
    fitted_on: tuple[Tensor, Tensor],
    judged_by: tuple[Tensor, Tensor],
    *,
    bins: int = BINS,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Outcome]:
    """Fit each method on the first logits and labels, and judge it by the second, before and after.

    Args: two pairs of logits (N, K) floating and labels (N,) int64, without a picture in common: see `check_apart`.
    Raises: as `uncertainty.check`, and what a method's `fit` raises. Cost: no model call.
    """
    logits, y = check(*judged_by)
    before = measured(logits, y, bins=bins, resamples=resamples, seed=seed)
    found = []
    for method in methods:
        begun = perf_counter()
        made = method.fit(*fitted_on)
        seconds = perf_counter() - begun
        with torch.no_grad():
            after = made(logits)
        changed = logits.argmax(1) != after.argmax(1)
        was, now = logits.argmax(1) == y, after.argmax(1) == y
        found.append(
            Outcome(
                method,
                made,
                seconds,
                before,
                measured(after, y, bins=bins, resamples=resamples, seed=seed),
                int(changed.sum()),
                int((now & ~was).sum()),
                int((was & ~now).sum()),
                _notes(method, made),
            )
        )
    return found


def _notes(method: Recalibration, made: Map) -> tuple[str, ...]:
    if isinstance(method, Temperature) and isinstance(made, Temper):
        told = f"temperature {float(made.temperature):.4g}"
        return (
            f"{told}, at its bound: the fitted pictures say nothing of a better one"
            if at_bound(method, made)
            else told,
        )
    return ()

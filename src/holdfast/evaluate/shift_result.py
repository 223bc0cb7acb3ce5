"""What an evaluation under shift returns, and how it is written as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.evaluate.corruption_error import CorruptionErrors
from holdfast.evaluate.result import Evaluation
from holdfast.evaluate.statistics import Rate
from holdfast.evaluate.under_attack import UnderAttack
from holdfast.uncertainty import Interval


@dataclass(frozen=True)
class Figures:
    """How right and how sure, with 95 % intervals: of accuracy by Clopper and Pearson, else by the bootstrap."""

    accuracy: Rate
    ece: Interval
    nll: Interval
    brier: Interval

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        told = {name: asdict(getattr(self, name)) for name in ("ece", "nll", "brier")}
        return {"accuracy": self.accuracy.to_plain(), **told}


@dataclass(frozen=True)
class Shifted:
    """The figures on one set of shifted pictures."""

    name: str
    severity: int | None  # None where there is none: a natural shift
    figures: Figures

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "severity": self.severity, **self.figures.to_plain()}


@dataclass(frozen=True)
class Relabelled:
    """The figures where classes come in other shares."""

    name: str
    shares: tuple[float, ...]  # of each class
    effective: float  # how many pictures of equal weight would tell as much
    accuracy: Interval
    ece: Interval
    nll: Interval
    brier: Interval

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "shares": list(self.shares)}


@dataclass(frozen=True)
class Shifts:
    """How a model fares as pictures shift. `summary` is the content of shifts/summary.json, as plain data."""

    clean: Figures
    corrupted: tuple[Shifted, ...]
    natural: tuple[Shifted, ...]
    labels: tuple[Relabelled, ...]
    errors: CorruptionErrors | None  # None without a corruption
    attacked: tuple[UnderAttack, ...]  # at each radius, ascending, of an attack that was given
    seconds: float
    run: Path | None  # the run folder
    summary: Mapping[str, Any]


def plain_errors(errors: CorruptionErrors) -> dict[str, Any]:
    """For JSON."""
    counted = errors.counted
    return {
        "each": {name: {**asdict(one), "counted": name in counted} for name, one in errors.each.items()},
        "counted": list(counted),
        "complete": errors.complete,
        "mean": errors.mean,
        "mce": errors.mce,
        "relative_mce": errors.relative_mce,
    }


def plain_attack(found: Evaluation, told: Sequence[UnderAttack]) -> dict[str, Any]:
    """For JSON: robust accuracy and calibration at each radius."""
    points = [
        {
            "eps": point.eps,
            "eps_text": point.eps_text,
            "accuracy": point.robust.to_plain(),
            "ece": asdict(one.ece),
            "confidence": one.confidence,
        }
        for point, one in zip(found.curve, told, strict=True)
    ]
    return {"threat": found.summary["threat"], "attack": found.summary["attack"]["name"], "points": points}

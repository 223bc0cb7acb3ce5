"""What is told of a judged detector: shares of pictures, sizes and areas, as plain JSON."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from holdfast.attacks.attack import minimal
from holdfast.evaluate.judge import Found, Judge, Judged, evasions
from holdfast.evaluate.statistics import Rate
from holdfast.options import to_plain
from holdfast.threats import plain
from holdfast.uncertainty.separation import Estimate, separate

Limits = Mapping[str, float | None]
"""Thresholds by their rate of false alarms; None where there are too few clean pictures for one."""


def of_clean(judge: Judge, limits: Limits) -> dict[str, Any]:
    """Of clean pictures: right, refused, and right among those that are answered."""
    n, right = len(judge.clean), judge.right & ~judge.refused
    return {
        "n": n,
        "right": share(judge.right),
        "false_alarms": share(judge.refused),
        "false_alarms_at": {name: above(judge.clean, limit) for name, limit in limits.items()},
        "answered_and_right": share(right),
        "right_of_answered": part(right, ~judge.refused),
    }


def of_attack(judge: Judge, one: Judged, limits: Limits) -> dict[str, Any]:
    """Both columns of one attack, and the guarded model's accuracy under the second."""
    threat = judge.threat_of(one.attack)
    evaded, refused = one.adaptive.success, judge.refused[judge.right]
    broken = one.oblivious.success | evaded
    if one.full is not None:
        broken = broken | one.full.success
    held = int((~refused & ~evaded).sum())
    return {
        "attack": one.attack.name,
        "options": to_plain(one.attack),
        "threat": {**plain(threat), "minimal": minimal(one.attack)},
        "access": one.attack.access.name.lower(),
        "oblivious": unaware(judge, one.oblivious, limits),
        "full": None if one.full is None else unaware(judge, one.full, limits),
        "adaptive": {
            "attacks": [one.attack.name, *(more.name for more in evasions(one.attack, threat))],
            "detected": part(broken & ~evaded, broken),
            "false_alarms": share(judge.refused),
            "median_size": median(one.adaptive.size[evaded]),
            "evaded": share(evaded),
            # Where nothing passes there is nothing to show but the picture as it is.
            "right_of_answered": of_answered(judge, held, held + int(evaded.sum())),
        },
        "robust": Rate(held, len(judge.clean)).to_plain(),
    }


def unaware(judge: Judge, found: Found, limits: Limits) -> dict[str, Any]:
    """The column of who does not know the detector."""
    suspicion = found.suspicion[found.success].double()
    answered = ~judge.model.refuses(found.suspicion)
    right = (found.prediction == judge.y.cpu()) & answered
    return {
        "succeeded": share(found.success),
        "detected": part(found.success & ~answered, found.success),
        "detected_at": {name: above(suspicion, limit) for name, limit in limits.items()},
        "false_alarms": share(judge.refused),
        "median_size": median(found.size[found.success]),
        "auroc": estimate(judge.clean, suspicion, judge.seed),
        "right_of_answered": of_answered(judge, int(right.sum()), int(answered.sum())),
    }


def of_answered(judge: Judge, right: int, answered: int) -> dict[str, Any] | None:
    """Right ones among all pictures that are answered: those wrong as they are, which nobody attacks, too."""
    answered += int((~judge.right & ~judge.refused).sum())
    return Rate(right, answered).to_plain() if answered else None


def share(which: Tensor) -> dict[str, Any]:
    """Of bools (n,), n >= 1."""
    return Rate(int(which.sum()), len(which)).to_plain()


def part(which: Tensor, of: Tensor) -> dict[str, Any] | None:
    """Those of `which` among those `of`, both (n,) bool; None of none."""
    return Rate(int((which & of).sum()), int(of.sum())).to_plain() if of.any() else None


def above(suspicion: Tensor, limit: float | None) -> dict[str, Any] | None:
    """The share of values above a threshold; None without values or a threshold."""
    if limit is None or not len(suspicion):
        return None
    return Rate(int((suspicion.double() > limit).sum()), len(suspicion)).to_plain()


def median(sizes: Tensor) -> float | None:
    """The median, the mean of the two middle ones; None of none."""
    return float(sizes.double().quantile(0.5)) if len(sizes) else None


def estimate(clean: Tensor, suspicion: Tensor, seed: int) -> dict[str, float] | None:
    """AUROC of adversarial against clean pictures, with its interval; None where there are fewer than two."""
    if len(suspicion) < 2 or len(clean) < 2:
        return None
    found: Estimate = separate(clean.double().numpy(), suspicion.double().numpy(), seed=seed).auroc
    return {"value": found.value, "low": found.low, "high": found.high}

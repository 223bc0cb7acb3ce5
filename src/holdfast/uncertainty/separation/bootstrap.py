"""All measures of one score with their intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.uncertainty.separation.auroc import delong
from holdfast.uncertainty.separation.counts import Counts, Values, check_scores, counts
from holdfast.uncertainty.separation.false_positives import false_positives, threshold
from holdfast.uncertainty.separation.precision import average_precision, mirrored

AT_ONCE = 1_000_000  # numbers that a table of resamples holds; about ten such tables are there at a time


@dataclass(frozen=True)
class Estimate:
    """A number in [0, 1] and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_plain(self) -> dict[str, float]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Separation:
    """How well one score tells unfamiliar pictures from familiar ones."""

    auroc: Estimate  # interval by DeLong
    aupr_out: Estimate  # unfamiliar pictures are the ones to find; this and the next two by the bootstrap
    aupr_in: Estimate  # familiar pictures are the ones to find
    fpr95: Estimate  # unfamiliar pictures that pass where 95 % of the familiar ones do; see `separate`
    threshold: float  # the largest score that passes there

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        names = ("auroc", "aupr_out", "aupr_in", "fpr95")
        return {name: getattr(self, name).to_plain() for name in names} | {"threshold": self.threshold}


def separate(inside: Values, outside: Values, *, resamples: int = 500, seed: int = 0) -> Separation:
    """All measures of the scores of familiar and of unfamiliar pictures.

    Args: `inside` (n,) and `outside` (m,) finite, the larger the more suspicious; `resamples` of the percentile
    bootstrap, in which both sets are drawn anew, each from itself, and with them the threshold.
    The interval of `fpr95` is no narrower than Clopper and Pearson's at the threshold found. Where the sets do not
    overlap at all, every resample has the same AUPR, and its interval no width: go by that of `auroc`.
    Raises: `DataError` for NaN, infinity, or fewer than two scores in a set.
    Cost: about `resamples` passes over the sorted scores.
    """
    inside, outside = check_scores(inside, outside)
    whole = counts(inside, outside)
    measures: tuple[Callable[[Counts], Values], ...] = (
        average_precision,
        lambda counted: average_precision(mirrored(counted)),
        false_positives,
    )
    again = _resampled(whole, measures, resamples, seed)
    low, high = np.quantile(again, (0.025, 0.975), axis=1)
    out, in_, false = (
        Estimate(float(measure(whole)), float(a), float(b)) for measure, a, b in zip(measures, low, high, strict=True)
    )
    false = _no_narrower(false, len(outside))
    return Separation(Estimate(*delong(inside, outside)), out, in_, false, threshold(inside))


def _no_narrower(share: Estimate, n: int) -> Estimate:
    """A share of `n` pictures with an interval that holds that of Clopper and Pearson.

    Resamples of pictures that all pass, or none of which does, all say the same, and would claim to know it for sure.
    """
    from scipy.stats import beta

    k = round(share.value * n)
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return Estimate(share.value, min(low, share.low), max(high, share.high))


def _resampled(whole: Counts, measures: tuple[Callable[[Counts], Values], ...], resamples: int, seed: int) -> Values:
    """Each measure (rows) of each resample (columns): the distinct values stay, how often each was drawn varies."""
    draw = np.random.default_rng(seed)
    sets = [np.diff(cumulative, prepend=0.0) for cumulative in (whole.inside, whole.outside)]
    parts, done = [], 0
    block = max(1, AT_ONCE // len(whole.value))
    while done < resamples:
        some = min(block, resamples - done)
        drawn = [
            np.cumsum(draw.multinomial(int(each.sum()), each / each.sum(), size=some), -1, dtype=np.float64)
            for each in sets
        ]
        counted = Counts(whole.value, *drawn)
        parts.append(np.stack([measure(counted) for measure in measures]))
        done += some
    return np.concatenate(parts, 1)

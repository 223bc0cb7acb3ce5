"""The area under the ROC curve, and its interval by DeLong."""

import math

import numpy as np

from holdfast.uncertainty.separation.counts import Counts, Values, check_scores

Z = 1.959963984540054  # of two-sided 95 %


def auroc(counted: Counts) -> Values:
    """The probability that an unfamiliar picture scores above a familiar one, ties counting half; (B,) or ()."""
    inside, outside = counted.inside, counted.outside
    steps = np.diff(inside, prepend=0.0)
    before = np.concatenate([np.zeros_like(outside[..., :1]), outside[..., :-1]], -1)
    pairs = (steps * (before + outside) / 2).sum(-1)
    return np.asarray(pairs / (inside[..., -1] * outside[..., -1]))


def delong(inside: Values, outside: Values) -> tuple[float, float, float]:
    """The area, and the ends of its 95 % interval.

    The variance is DeLong's, of the two samples taken as independent; the interval is normal and cut to [0, 1]. Where
    the sets are told apart without a fault that variance is 0 and would claim too much: then the other end is the area
    whose own interval, by Hanley and McNeil's variance, just holds what was seen.
    Raises: `DataError` as `check_scores`. Cost: two sorts.
    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44(3), by ranks as in Sun & Xu 2014,
    doi:10.1109/LSP.2014.2337313; the ends cf. method 5 of Newcombe 2006, doi:10.1002/sim.2324.
    """
    inside, outside = check_scores(inside, outside)
    m, n = len(outside), len(inside)
    together, within_out, within_in = (_midranks(v) for v in (np.concatenate([outside, inside]), outside, inside))
    above = (together[:m] - within_out) / n  # of each unfamiliar picture: familiar ones below it
    below = 1 - (together[m:] - within_in) / m
    area = float(above.mean())
    if area in (0.0, 1.0):
        end = _score_end(max(area, 1 - area), m, n)
        return (area, end, 1.0) if area == 1 else (area, 0.0, 1 - end)
    spread = Z * math.sqrt(float(above.var(ddof=1)) / m + float(below.var(ddof=1)) / n)
    return area, max(0.0, area - spread), min(1.0, area + spread)


def _midranks(values: Values) -> Values:
    from scipy.stats import rankdata

    ranks: Values = rankdata(values)
    return ranks


def _score_end(area: float, m: int, n: int) -> float:
    """The smallest area that lies within `Z` of its own standard errors from the one seen, by bisection."""
    low, high = 0.5, area
    for _ in range(60):
        middle = (low + high) / 2
        if area - middle > Z * math.sqrt(_hanley_mcneil(middle, m, n)):
            low = middle
        else:
            high = middle
    return high


def _hanley_mcneil(area: float, m: int, n: int) -> float:
    """The variance of the area, both sample sizes replaced by their mean in the numerator as Newcombe does."""
    more = (m + n) / 2 - 1
    return area * (1 - area) * (1 + more * ((1 - area) / (2 - area) + area / (1 + area))) / (m * n)

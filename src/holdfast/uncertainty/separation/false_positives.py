"""How many unfamiliar pictures pass where 95 % of the familiar ones do."""

import math

import numpy as np

from holdfast.uncertainty.separation.counts import Counts, Values

SHARE = 0.95  # of familiar pictures that are to pass


def false_positives(counted: Counts, share: float = SHARE) -> Values:
    """The share of unfamiliar pictures that pass the threshold at which at least `share` of the familiar ones do.

    Familiar pictures are the positives, as in the literature on the subject: a false positive is an unfamiliar picture
    taken for a familiar one. A picture passes when its score is no larger than the threshold, which is the smallest
    score of a familiar picture that suffices; (B,) or ().
    Source: Liang, Li & Srikant 2018, arXiv:1706.02690.
    """
    at = _place(counted, share)
    outside = np.concatenate([np.zeros_like(counted.outside[..., :1]), counted.outside], -1)
    stopped = np.take_along_axis(outside, at[..., None], -1)[..., 0]
    return np.asarray(1 - stopped / counted.outside[..., -1])


def threshold(inside: Values, share: float = SHARE) -> float:
    """The largest score that passes: the smallest one that lets at least `share` of the familiar pictures through."""
    least = math.ceil(share * len(inside) - 1e-9)
    return float(np.sort(inside)[max(least, 1) - 1])


def _place(counted: Counts, share: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.intp]]":
    """How many of the distinct values, from the largest on, lie above the threshold."""
    total = counted.inside[..., -1:]
    passing = total - counted.inside  # below each value
    # The first value below which too few would pass is the threshold itself; those before it are stopped.
    enough = passing >= np.ceil(share * total - 1e-9)
    return np.asarray(enough.sum(-1))

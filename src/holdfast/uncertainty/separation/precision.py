"""The area under the curve of precision over recall."""

import numpy as np

from holdfast.uncertainty.separation.counts import Counts, Values


def average_precision(counted: Counts) -> Values:
    """The mean precision over the unfamiliar pictures found, as thresholds fall; (B,) or ().

    The area in steps, with no line drawn between points, which would promise too much (Davis & Goadrich 2006).
    For that of familiar pictures give `mirrored(counts)`.
    """
    found, wrong = counted.outside, counted.inside
    precision = found / np.maximum(found + wrong, 1)
    gained = np.diff(found, prepend=0.0) / found[..., -1:]
    return np.asarray((precision * gained).sum(-1))


def mirrored(counted: Counts) -> Counts:
    """The same with the sets exchanged and the order turned round: familiar pictures are the ones to find."""

    def turned(cumulative: Values) -> Values:
        steps = np.diff(cumulative, prepend=0.0)
        return np.asarray(np.cumsum(steps[..., ::-1], -1))

    return Counts(-counted.value[::-1], turned(counted.outside), turned(counted.inside))

"""The step size: a function of how much of the training lies behind, and for `plateau` of the errors so far."""

import math
from collections.abc import Sequence

from holdfast.train.options import TrainOptions

RISE = 0.2  # share of the one-cycle schedule in which the step size grows, where nothing else is said


def rate(options: TrainOptions, time: float, errors: Sequence[float] = ()) -> float:
    """The step size at a share `time` of the training, in [0, 1), after epochs with these validation errors.

    It grows in a straight line for the share `rise`, then: `constant` stays, `one-cycle` falls in a straight line to
    0, `cosine` along half a wave to 0, `step` takes `factor` at each of the `milestones`, `plateau` after every
    `stalled` epochs in a row without a lower error.
    Source: one cycle cf. Smith & Topin 2017, arXiv:1708.07120; here linear both ways, momentum left alone. Cosine:
    Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    rise = rising(options)
    if time < rise:
        return options.peak * time / rise
    left = (1 - time) / (1 - rise)
    shape = {
        "constant": 1.0,
        "one-cycle": left,
        "cosine": (1 - math.cos(math.pi * left)) / 2,
        "step": options.factor ** sum(time >= share for share in options.milestones),
        "plateau": options.factor ** plateaus(errors, options.stalled),
    }
    return options.peak * shape[options.schedule]


def rising(options: TrainOptions) -> float:
    """The share of the training in which the step size grows."""
    if options.rise is not None:
        return options.rise
    return RISE if options.schedule == "one-cycle" else 0.0


def plateaus(errors: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no lower error; counting begins anew each time.

    >>> plateaus([0.5, 0.4, 0.4, 0.5, 0.45, 0.41], 2)
    2
    """
    lowest, waited, found = math.inf, 0, 0
    for error in errors:
        waited = 0 if error < lowest else waited + 1
        lowest = min(lowest, error)
        if waited == patience:
            found, waited = found + 1, 0
    return found

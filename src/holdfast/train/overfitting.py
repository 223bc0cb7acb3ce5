"""The monitor of catastrophic overfitting: nets that fool the training attack and hold against no other."""

import math
from collections.abc import Sequence

from holdfast.train.history import Count, Epoch
from holdfast.train.options import TrainOptions

DEVIATIONS = 3.0  # of counts, by which pictures must have been lost before it is more than chance
PART = 0.2  # of training accuracy under attack, below which none is left on validation pictures


def notes_on(history: Sequence[Epoch], options: TrainOptions, classes: int) -> tuple[str, ...]:
    """What is to be said of the last epoch: that overfitting began with it, and what to do."""
    if not collapsed(history, options, classes) or collapsed(history[:-1], options, classes):
        return ()
    now = history[-1]
    assert now.robust is not None
    before = max(_judged(history), key=lambda epoch: epoch.rate, default=now.robust)
    return (
        f"catastrophic overfitting since epoch {now.number}: of the training pictures as attacked "
        f"{now.train.rate:.0%} are right, but under the stronger attack {now.robust.k} of {now.robust.n} validation "
        f"pictures are, after {before.k} at best. Train against n-fgsm or pgd, add the penalty grad-align, or take a "
        "smaller step; watch=robust keeps the best epoch.",
    )


def collapsed(history: Sequence[Epoch], options: TrainOptions, classes: int) -> bool:
    """Whether the last epoch's model answers well under the training attack, and not under the judge's.

    Either fewer than half of the pictures hold that held at best, by more than chance, though the training pictures
    are right as often as then, and more held than by guessing among the `classes`; or nearly none hold, though most
    training pictures are right. The second is only said where all training pictures are attacked at the full radius.
    Source: the signs are those of Wong, Rice & Kolter 2020, arXiv:2001.03994, sec. 5.4; the thresholds are ours.
    """
    if not history or history[-1].robust is None:
        return False
    now, robust = history[-1], history[-1].robust
    whole = options.mix == 1 and now.number > options.warm_up * options.epochs + 1
    if whole and now.train.rate > 0.5 and lost(PART * now.train.rate * robust.n, robust.k):
        return True
    earlier = [epoch for epoch in history[:-1] if epoch.robust is not None]
    best = max(earlier, key=lambda epoch: epoch.robust.rate if epoch.robust else 0.0, default=now)
    if best.robust is None:
        return False
    halved = robust.rate < best.robust.rate / 2 and lost(best.robust.rate * robust.n, robust.k)
    learnt = lost(best.robust.k, best.robust.n / classes)
    return halved and learnt and now.train.rate >= best.train.rate


def lost(expected: float, found: float) -> bool:
    """Whether so few were found where so many were expected by more than chance, counts being Poisson."""
    return expected - found > DEVIATIONS * math.sqrt(expected + found)


def _judged(history: Sequence[Epoch]) -> list[Count]:
    return [epoch.robust for epoch in history if epoch.robust is not None]

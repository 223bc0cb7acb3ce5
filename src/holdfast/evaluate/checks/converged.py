"""Had the search come to rest, and was nothing lost on its way?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample

LOST = "The attack forgets what it has found: return the best point seen, not the last one."
RISING = "The search was cut off: raise the steps (--attack apgd --set steps=200, say) or the step size."


@dataclass(frozen=True)
class Converged:
    """On pictures that hold, the loss has stopped rising when the steps end; no success seen on the way is lost.

    Looked at is the best loss so far of each picture, from round to round. A picture is still rising if the last tenth
    of the rounds brought more than `rise` of all that was gained since the start. More than `most` of those that hold,
    and `few` at least, warns: whether more steps would break them is the check `monotone-steps`. A success that was
    seen but not returned fails.
    Skipped where a picture has fewer than `rounds` rounds, or the attack keeps no trace. Cost: none.
    Source: Pintor et al. 2022, arXiv:2106.09947, indicators of silent success and of incomplete optimisation.
    """

    rise: float = 0.05
    most: float = 0.2
    few: int = 5
    rounds: int = 10
    name: ClassVar[str] = "converged"
    title: ClassVar[str] = "The search has come to rest and lost nothing on its way"

    def look(self, sample: Sample) -> Finding:
        """From the trace of the attack on the sample."""
        trial = sample.attacked(float(sample.threat.eps))
        if trial.trace is None:
            return found(self, "skipped", "the attack keeps no trace")
        lost = int((trial.trace.reached.flatten(1).any(1) & sample.right & ~trial.claimed).sum())
        if lost:
            return found(self, "fail", f"{lost} pictures were broken on the way and returned unbroken", LOST)
        standing = sample.right & ~trial.broken
        n, rounds = int(standing.sum()), trial.trace.loss.shape[2]
        if not n:
            return found(self, "pass", "no picture of the sample holds, and no success was lost")
        if rounds < self.rounds:
            return found(self, "skipped", f"{rounds} rounds a picture are too few to tell")
        rising = int(still_rising(trial.trace.loss[standing], self.rise).sum())
        told = f"of {n} pictures that hold, {rising} still had a rising loss at the end of {rounds} rounds"
        if rising >= self.few and rising > self.most * n:
            return found(self, "warn", told, RISING)
        return found(self, "pass", told)


def still_rising(loss: Tensor, rise: float) -> Tensor:
    """(n,) bool from losses (n, lanes, rounds), NaN where nothing was asked: whether the last tenth brought more than
    that share of all that was gained."""
    best = loss.nan_to_num(nan=-torch.inf).amax(1).cummax(1).values
    first, last = best[:, 0], best[:, -1]
    late = best[:, -1 - max(1, best.shape[1] // 10)]
    gained = last - first
    return (gained > 0) & gained.isfinite() & (last - late > rise * gained)

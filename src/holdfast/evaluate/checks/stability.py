"""Does the answer change in proportion to the picture?"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access.borrow import float_type
from holdfast.draws import Draws
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.losses import Goal, objectives
from holdfast.models import bridged_steps

ADVICE = (
    "The loss jumps at a scale that gradients do not see: look for rounding, sorting or noise. Declare that step "
    "(holdfast.models.Defended), so that the attack goes through it; the checks of gradients say whether it matters."
)


@dataclass(frozen=True)
class Stability:
    """Eight times as far in the same direction, the loss changes about eight times as much.

    From each picture a random direction is followed a thousandth of the box and eight times as far. The change of the
    margin grows as a power of the distance: 1 for functions with a gradient, about 1/2 for one that rounds its input,
    0 for one that is noise; one that rounds pictures which lie on its levels stays the same near by, so that the power
    is large. Below `least` or above `most`, in the median over the sample, warns, unless a step is declared that may be
    the reason and that gradients are led through; whether they show the way, other checks tell.
    Cost: 4 forward passes a picture of the sample, each as often as the attack averages.
    Source: cf. Pintor et al. 2022, arXiv:2106.09947, indicator of unstable predictions; there the spread of the loss.
    """

    step: float = 0.001
    factor: int = 8
    least: float = 0.75
    most: float = 3.0
    name: ClassVar[str] = "stability"
    title: ClassVar[str] = "The loss changes in proportion to the picture"

    def look(self, sample: Sample) -> Finding:
        """From the margins near the pictures."""
        if float_type(sample.model) not in (torch.float32, torch.float64):
            return found(self, "skipped", "the model computes in low precision, whose rounding is a jump itself")
        near, far = (self._change(sample, distance) for distance in (self.step, self.factor * self.step))
        usable = sample.right & near.isfinite() & far.isfinite()
        moved = usable & ((near > 0) | (far > 0))
        n = int(moved.sum())
        if not n:
            told = f"the margin of {int(usable.sum())} pictures does not change at all"
            return found(self, "warn" if bool(usable.any()) else "skipped", told, ADVICE)
        least = torch.finfo(near.dtype).tiny
        grows = (far[moved].clamp_min(least) / near[moved].clamp_min(least)).log() / math.log(self.factor)
        power = float(grows.median())
        told = f"the change of the margin grows with the distance to the power of {power:.2f}, in the median of {n}"
        if power > self.most:
            still = int((near[moved] == 0).sum())
            told = f"the margin of {still} of {n} pictures stays as it is near by, and not further on"
        elif power >= self.least:
            return found(self, "pass", told)
        if steps := bridged_steps(sample.model):
            return found(self, "pass", f"{told}; its step {steps[0]} is declared, and gradients go through it")
        return found(self, "warn", told, ADVICE)

    def _change(self, sample: Sample, share: float) -> Tensor:
        low, high = sample.threat.low, sample.threat.high
        direction = 2 * Draws(sample.seed, sample.place).uniform(sample.x) - 1
        # Towards the middle of the box, so that nothing is cut off at its sides.
        inward = torch.where(sample.x > (low + high) / 2, -1.0, 1.0) * direction.abs()
        # Where the attack averages, the same draws are behind both answers, or they alone would make the difference.
        ask, goal = sample.ask if sample.repeats == 1 else sample.expected, Goal(sample.y)
        moved = ask(sample.x + share * (high - low) * inward)
        return (objectives.margin(moved, goal) - objectives.margin(ask(sample.x), goal)).abs()

"""Does the gradient tell where the loss rises?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.losses import Goal, objectives
from holdfast.threats import Rendered, Threat

ADVICE = (
    "The gradient is shattered or belongs to another function: look for fast oscillation, rounding, or a backward pass "
    "of the model's own. Declare that step with a smooth stand-in for the way back (holdfast.models.Step), or attack "
    "without gradients."
)


@dataclass(frozen=True)
class Ascent:
    """From most pictures, a short step along the gradient leads to a higher loss than the same step against it.

    The longest step is a tenth of the radius, as PGD's, between a thousandth and a hundredth of the whole box; shorter
    ones by `shares` go with it, since an oscillation may by chance be in step with one of them. The loss is the margin,
    which no confidence saturates. Trained networks, adversarially or not, agree with their gradient on nearly all
    pictures; of a gradient that says nothing, half agree by chance. At the worst step fewer than `least` of the
    pictures fail, fewer than `most` warn.
    Where the attack averages over answers, so does this, by the same draws on either side; a model whose draws torch
    does not make is left out.
    Pictures without a usable gradient are the check `gradients`' and left out. Below `few` pictures: skipped.
    Cost: 9 forward passes and 1 backward pass a picture of the sample, each as often as the attack averages.
    """

    shares: tuple[float, ...] = (1.0, 0.81, 0.62, 0.43)

    least: float = 0.7
    most: float = 0.9
    few: int = 20
    name: ClassVar[str] = "ascent"
    title: ClassVar[str] = "The gradient points to where the loss rises"

    def look(self, sample: Sample) -> Finding | None:
        """From the margins a step away, on either side."""
        if isinstance(sample.threat, Rendered):
            return found(self, "skipped", "pictures are rendered from parameters, and do not move along their gradient")
        if sample.threat.grain:
            return found(self, "skipped", "where changes are counted a step is a whole one, not a short one")
        if sample.repeats > 1 and not torch.equal(sample.expected(sample.x), sample.expected(sample.x)):
            return found(self, "skipped", "the model draws numbers of its own, which hide what a short step does")
        gradient = sample.gradient("margin")
        usable = sample.right & gradient.isfinite().flatten(1).all(1) & (gradient != 0).flatten(1).any(1)
        n = int(usable.sum())
        if n < self.few:
            return found(self, "skipped", f"{n} pictures of the sample are right and have a gradient, too few to tell")
        longest = min(max(float(sample.threat.eps) / 10, sample.whole_box / 1000), sample.whole_box / 100)
        steps = [share * longest for share in self.shares]
        threat = sample.threat
        rises, step = min((int(rises_by(sample, threat, gradient, step)[usable].sum()), step) for step in steps)
        told = f"{rises} of {n} pictures have a higher loss a step of {step:.2g} along the gradient than against it"
        if rises < self.most * n:
            return found(self, "fail" if rises < self.least * n else "warn", told, ADVICE)
        return found(self, "pass", told)


def rises_by(sample: Sample, threat: Threat, gradient: Tensor, step: float) -> Tensor:
    """(n,) bool: the margin's loss is higher that far along the steepest direction than as far against it."""
    threat = threat.with_eps(step)
    move = step * threat.steepest(gradient, sample.x)
    ahead, behind = (
        objectives.margin(sample.expected(threat.project(sample.x + sign * move, sample.x)), Goal(sample.y))
        for sign in (1, -1)
    )
    return ahead > behind

"""Is there a gradient to follow?"""

from dataclasses import dataclass
from typing import ClassVar

from holdfast.attacks.eot import within
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample

ADVICE = (
    "Look for rounding, argmax, detach() or a saturated loss in the model: declare the dead step by "
    "holdfast.models.Step(step, backward='straight_through'), or with a smooth function that stands in for it on the "
    "way back; attack the margin instead of the cross-entropy (--attack pgd --set loss=margin), or attack "
    "without gradients."
)


@dataclass(frozen=True)
class Gradients:
    """The attack's loss has a gradient with respect to the picture that is finite and not zero everywhere.

    A gradient is zero when all its values are exactly 0: then the steepest direction is no direction. Trained models
    that end in logits have none such among clean pictures, even when sure of themselves; a few pictures may sit on a
    dead unit. More than `most` of the sample without a usable gradient fails, any at all warns.
    Cost: 1 forward and 1 backward pass a picture of the sample, each as often as the attack averages.
    """

    most: float = 0.05
    name: ClassVar[str] = "gradients"
    title: ClassVar[str] = "The loss has a gradient that an attack can follow"

    def look(self, sample: Sample) -> Finding:
        """From the gradients at the unchanged sample."""
        losses = sorted({getattr(within(attack), "loss", "cross_entropy") for attack in sample.attacks})
        found_here = [(name, *self._count(sample, name)) for name in losses]
        loss, zero, broken = max(found_here, key=lambda entry: entry[1] + entry[2])
        evidence = (
            f"of {len(sample)} gradients of the {loss.replace('_', ' ')}, {zero} are zero and {broken} not finite"
        )
        if zero + broken > self.most * len(sample):
            return found(self, "fail", evidence, ADVICE)
        return found(self, "warn" if zero + broken else "pass", evidence, ADVICE)

    def _count(self, sample: Sample, loss: str) -> tuple[int, int]:
        gradient = sample.gradient(loss)
        finite = gradient.isfinite().flatten(1).all(1)
        zero = (gradient == 0).flatten(1).all(1)
        return int(zero.sum()), int((~finite).sum())

"""Is there a gradient to follow?"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.attacks.wrapper import inside
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
    dead unit. More than `most` of the sample without a usable gradient fails, any at all warns. So do gradients half of
    which differ by more than `apart` when asked for again, and input values that have no gradient in any picture though
    the answer depends on them: then something cuts or disturbs the way back and not the way there.
    Cost: 2 forward and 2 backward passes a picture of the sample, each as often as the attack averages; where values
    have no gradient, 3 forward passes more.
    """

    most: float = 0.05
    apart: float = 0.05
    name: ClassVar[str] = "gradients"
    title: ClassVar[str] = "The loss has a gradient that an attack can follow"

    def look(self, sample: Sample) -> Finding:
        """From the gradients at the unchanged sample."""
        losses = sorted({getattr(inside(attack), "loss", "cross_entropy") for attack in sample.attacks})
        found_here = [(name, *self._count(sample, name)) for name in losses]
        loss, zero, broken = max(found_here, key=lambda entry: entry[1] + entry[2])
        evidence = (
            f"of {len(sample)} gradients of the {loss.replace('_', ' ')}, {zero} are zero and {broken} not finite"
        )
        if zero + broken > self.most * len(sample):
            return found(self, "fail", evidence, ADVICE)
        if told := self._fickle(sample, loss) or self._dead_values(sample, loss):
            return found(self, "fail", f"{evidence}; {told}", ADVICE)
        return found(self, "warn" if zero + broken else "pass", evidence, ADVICE)

    def _fickle(self, sample: Sample, loss: str) -> str:
        """Whether the same pictures have another gradient a second time, though the attack does not average."""
        if sample.repeats > 1:
            return ""
        first, again = sample.gradient(loss).flatten(1), sample.fresh_gradient(loss).flatten(1)
        apart = (first - again).norm(dim=1) / first.norm(dim=1).clamp_min(torch.finfo(first.dtype).tiny)
        median = float(apart.median())
        return f"asked a second time, half of them differ by {median:.0%} or more" if median > self.apart else ""

    def _dead_values(self, sample: Sample, loss: str) -> str:
        """Whether input values have no gradient in any picture although the answer depends on them.

        Values that no unit looks at, or none that is awake, change nothing when moved a little; what does change the
        answer, by more than a tenth of what as many other values do, has been cut off.
        """
        dead = (sample.gradient(loss) == 0).all(0)
        count = int(dead.sum())
        if not 0 < count < dead.numel():
            return ""
        live = torch.zeros_like(dead)
        live.view(-1)[(~dead).flatten().nonzero().flatten()[:count]] = True
        low, high = sample.threat.low, sample.threat.high
        inward = torch.where(sample.x > (low + high) / 2, -1.0, 1.0) * (high - low) / 1000
        still = sample.expected(sample.x)
        moved, other = (
            float((sample.expected(sample.x + values * inward) - still).abs().mean()) for values in (dead, live)
        )
        if moved <= 0.1 * other * count / int(live.sum()):
            return ""
        return f"{count} of {dead.numel()} input values have none in any picture, though the answer depends on them"

    def _count(self, sample: Sample, loss: str) -> tuple[int, int]:
        gradient = sample.gradient(loss)
        finite = gradient.isfinite().flatten(1).all(1)
        zero = (gradient == 0).flatten(1).all(1)
        return int(zero.sum()), int((~finite).sum())

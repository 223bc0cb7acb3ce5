"""With no limit, does the attack reach everything?"""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from holdfast.attacks.wrapper import Wrapper, with_inside
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.threats import Rendered

ADVICE = (
    "A picture of another class is within reach here, so the attack cannot follow this model: look at the check of the "
    "gradients, try another loss (--attack pgd --set loss=margin), or more and longer steps."
)


@dataclass(frozen=True)
class Unbounded:
    """When the whole box is allowed, the attack leaves no picture standing.

    Every picture of another class lies within reach then, so a picture that holds proves the attack unable to follow
    this model, not the model robust. The attack runs as it is evaluated; what holds is tried again with `steps` times
    its steps and `restarts` restarts where it has such options, since the distance is many times longer than usual.
    Linear, dense, convolutional and residual networks, adversarially trained or not, all fall at the first try.
    Cost: until each picture of the sample falls; most fall within a few steps.
    """

    steps: int = 4
    restarts: int = 3
    name: ClassVar[str] = "unbounded"
    title: ClassVar[str] = "With no limit on the change, the attack breaks every picture"

    def look(self, sample: Sample) -> Finding:
        """From an attack whose radius spans the box."""
        if sample.one_radius:
            return found(self, "skipped", "the attack has a radius of its own")
        if isinstance(sample.threat, Rendered):
            return found(self, "skipped", f"no {sample.threat.name} need take a picture to another class")
        right, eps = sample.right, sample.whole_box
        n = int(right.sum())
        if n == 0:
            return found(self, "skipped", "no picture of the sample is right before the attack")
        if len(set(sample.logits.argmax(1).tolist())) == 1:
            told = f"the model gives all {len(sample)} pictures of the sample the same class, so no other may exist"
            return found(self, "skipped", told)
        held = right & sample.attacked(eps).standing
        stronger = [self.strengthened(attack) for attack in sample.attacks]
        again = ""
        if bool(held.any()) and stronger != list(sample.attacks):
            first, held = int(held.sum()), held & sample.attacked(eps, stronger).standing
            again = f" ({first} at first, {int(held.sum())} after {self.steps} times the steps)"
        evidence = f"{int(held.sum())} of {n} pictures hold at eps={eps:g}, the whole box{again}"
        return found(self, "fail" if bool(held.any()) else "pass", evidence, ADVICE)

    def strengthened(self, attack: Any) -> Any:
        """The attack with more steps and restarts, as far as it has them."""
        if isinstance(attack, Wrapper):
            return with_inside(attack, self.strengthened)
        record: Any = attack
        names = {field.name for field in fields(record)}
        changes: dict[str, int] = {}
        if "steps" in names:
            changes["steps"] = self.steps * record.steps
        if "restarts" in names:
            changes["restarts"] = max(self.restarts, record.restarts)
        return replace(record, **changes)

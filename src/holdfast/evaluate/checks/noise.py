"""Does following the gradient beat guessing?"""

from dataclasses import dataclass
from typing import ClassVar

from holdfast import attacks
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample


@dataclass(frozen=True)
class Noise:
    """Random points in the threat, as many as the attack may ask for, break no more pictures than the attack does.

    Counted are the pictures that only one of the two breaks. More that only noise breaks than only the attack:
    fails, the gradient points the wrong way or nowhere. Any picture that only noise breaks is one that the attack
    should have found, which warns.
    Cost: as many forward passes a picture as the attack asks questions, until noise breaks it.
    """

    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "The attack beats random noise of the same size"

    def look(self, sample: Sample) -> Finding:
        """From both attacks at the largest radius."""
        if not sample.uses_gradients:
            return found(self, "skipped", "the attack uses no gradient")
        eps = float(sample.threat.eps)
        tries = sum(attack.rounds * int(getattr(attack, "restarts", 1)) for attack in sample.attacks)
        guided = sample.attacked(eps).broken
        blind = sample.attacked(eps, [attacks.Noise(tries=tries)]).broken
        only_blind, only_guided = int((blind & ~guided).sum()), int((guided & ~blind).sum())
        evidence = (
            f"of {int(sample.right.sum())} pictures the attack breaks {int(guided.sum())} and noise with {tries} tries "
            f"{int(blind.sum())}; {only_blind} fall to noise alone"
        )
        advice = (
            "The gradient misleads: check the loss's sign, gradient masking and randomness; attack without gradients."
        )
        if only_blind > only_guided:
            return found(self, "fail", evidence, advice)
        return found(self, "warn" if only_blind else "pass", evidence, advice)

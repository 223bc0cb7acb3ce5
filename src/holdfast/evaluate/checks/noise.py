"""Does following the gradient beat guessing?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast import attacks
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.evaluate.statistics import excess
from holdfast.threats import Rendered

ADVICE = "The gradient misleads: check the loss's sign, gradient masking and randomness; attack without gradients."


@dataclass(frozen=True)
class Noise:
    """The attack breaks pictures that as many random points in the threat do not, and not the other way round.

    Counted are the pictures that only one of the two breaks, at the largest radius under evaluation. Where too few
    differ to tell (sign test, p < `chance`), both are tried again at twice the radius, and twice that, or, where noise
    alone breaks most pictures, at half of it: a gradient that shows the way does so at some radius.
    Fails when noise is the better one, or when the attack is better at no radius; where sizes are counted there are few
    radii, and only the first fails. Any picture that only noise breaks
    under evaluation is one that the attack should have found, which warns.
    Skipped below `few` pictures that are right, too few for the test.
    Cost: as many forward passes a picture as the attack asks questions, until noise breaks it, and the attack again,
    at each radius; with a usable gradient mostly one radius, or the first at which anything breaks.
    """

    chance: float = 0.01
    few: int = 20
    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "The attack beats random noise of the same size"

    def look(self, sample: Sample) -> Finding:
        """From both attacks, at the largest radius and where needed at others."""
        right = int(sample.right.sum())
        if not sample.uses_gradients:
            return found(self, "skipped", "the attack uses no gradient")
        if isinstance(sample.threat, Rendered):
            return found(self, "skipped", "among few parameters to guess is an attack of its own (worst-of-k)")
        if float(sample.threat.eps) == 0:
            return found(self, "skipped", "eps is 0")
        if right < self.few:
            return found(
                self, "skipped", f"{right} pictures of the sample are right before the attack, too few to tell"
            )
        own = [attack for attack in sample.attacks if isinstance(attack, attacks.Attack)]
        if not own:
            return found(self, "skipped", "how often the attack, one from elsewhere, may ask is not known beforehand")
        tries = sum(attack.rounds * int(getattr(attack, "restarts", 1)) for attack in own)
        told: list[str] = []
        stray = 0  # pictures that only noise breaks, at the radius under evaluation
        for eps, guided, blind in self._trials(sample, tries):
            only_guided, only_blind = int((guided & ~blind).sum()), int((blind & ~guided).sum())
            stray = stray if told else only_blind
            told.append(
                f"at eps={eps:.3g} the attack breaks {int(guided.sum())}, noise with {tries} tries {int(blind.sum())}"
                f" ({only_guided} and {only_blind} alone)"
            )
            if excess(only_guided, only_blind) < self.chance:
                break
            if excess(only_blind, only_guided) < self.chance:
                return found(self, "fail", evidence(right, told), ADVICE)
        else:
            if sample.threat.grain:  # a few whole radii, among which guessing may be as good as searching
                return found(self, "warn" if stray else "skipped", f"{evidence(right, told)}: too few to tell", ADVICE)
            return found(self, "fail", evidence(right, told), ADVICE)
        return found(self, "warn" if stray else "pass", evidence(right, told), ADVICE)

    def _trials(self, sample: Sample, tries: int) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Radius, and what attack and noise break there: first as evaluated, then on where there is more to see."""
        eps, widest = float(sample.threat.eps), sample.whole_box
        factor = 0.0
        while eps <= widest and eps > widest / 2**20 and eps >= sample.threat.grain:
            guided, blind = sample.attacked(eps).broken, sample.attacked(eps, [attacks.Noise(tries=tries)]).broken
            yield eps, guided, blind
            factor = factor or (0.5 if int(blind.sum()) > int(sample.right.sum()) / 2 else 2.0)
            eps = eps * factor if not sample.threat.grain else float(int(eps * factor))  # what is counted is whole


def evidence(right: int, told: list[str]) -> str:
    """What was seen at the first radius, and at the last where there were several."""
    shown = told if len(told) < 3 else [told[0], told[-1]]
    return f"of {right} pictures {'; '.join(shown)}"

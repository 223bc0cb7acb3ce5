"""Does an attack that sees only scores break what the gradients left standing?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access
from holdfast.attacks import APGDT, ATTACKS, External, Reserve, Square
from holdfast.attacks.attack import suits
from holdfast.evaluate.findings import Finding, Outcome, found
from holdfast.evaluate.provenance import Run, listed_attacks
from holdfast.evaluate.sample import Sample
from holdfast.evaluate.summary import own

ADVICE = (
    "The gradients are masked: declare steps that hide them (holdfast.models.Defended) so that the attack goes through "
    "them, average random ones (--suite random), and give Square more queries (--attack square --set queries=5000)."
)
FEW = (
    "Only these few: perhaps a kink that gradients meet at a bad angle. More restarts, or --suite full, tell whether "
    "there are others."
)
STRONGER = "The attack is too weak for this model: evaluate with --suite standard, which goes towards every class."
LONGER = "The attack is too weak for this model, which answers at random: evaluate with --suite random."


@dataclass(frozen=True)
class ScoresOnly:
    """Random search on the scores breaks next to nothing that the attack with gradients did not.

    Gradients say more than scores, so where scores alone get further the gradients mislead. The attack of the sample
    is followed by Square with `queries` questions on up to `pictures` of those it left. What that breaks is attacked
    along gradients towards every class in turn: what these miss too, if more than `much` of the pictures that were
    right and `few` at least, fails, more than `some` warns (AutoAttack: from 0.2 % on). What they find was missed for
    want of strength, not of gradients: more than `weak` fails, more than `much` warns.
    Where attacks in a row end with a search on scores, all pictures' records answer instead.
    Cost: `queries` forward passes a picture that stands; none where it is read from the records.
    Source: the flag of AutoAttack (Croce & Hein 2020, arXiv:2003.01690); Carlini et al. 2019, arXiv:1902.06705.
    """

    queries: int = 500
    pictures: int = 64
    much: float = 0.02
    some: float = 0.002
    weak: float = 0.1
    few: int = 3
    name: ClassVar[str] = "scores-only"
    title: ClassVar[str] = "An attack that sees only scores does not beat the gradients"

    def look(self, sample: Sample) -> Finding | None:
        """From Square on what the attack of the sample left standing."""
        names = [
            "" if isinstance(attack, External) else attack.name
            for attack in sample.row
            if not isinstance(attack, Reserve)
        ]
        if last_by_scores(names):
            return None
        if not sample.uses_gradients:
            return found(self, "skipped", "the attack uses no gradient")
        if not suits(Square(), sample.threat):
            return found(self, "skipped", f"its search has no form for the threat {sample.threat.name}")
        standing = sample.standing(self.pictures)
        n = int(standing.sum())
        if not n:
            return found(self, "pass", "the attack left no picture of the sample standing")
        queries = max(self.queries // sample.repeats, 50)
        square, towards_each = sample.averaged([Square(queries=queries, rescaled=False, ahead=16), APGDT(steps=50)])
        searched = sample.search([square], sample.model, sample.threat, standing)
        alone = standing.clone()
        alone[standing] = searched.success
        hit, right = int(alone.sum()), int(sample.right.sum())
        told = f"of {n} pictures that the attack left standing, Square breaks {hit} in {queries} queries"
        if not hit:
            return found(self, "pass", told)
        missed = hit - int(sample.search([towards_each], sample.model, sample.threat, alone).success.sum())
        told += f", of which Auto-PGD towards each class misses {missed}"
        if missed <= self.some * right and hit > self.much * right:
            return found(
                self, "fail" if hit > self.weak * right else "warn", told, STRONGER if sample.repeats == 1 else LONGER
            )
        return self._judge(missed, right, told)

    def read(self, run: Run, records: dict[str, Tensor]) -> Finding | None:
        """From what is on record of all pictures, if attacks of both kinds ran in a row."""
        # Places as in the records: those in reserve come after all others, those from elsewhere anywhere.
        listed = [attack for attack in listed_attacks(run) if "when" not in attack]
        numbers = last_by_scores(["" if "library" in attack else str(attack["name"]) for attack in listed])
        if not numbers:
            return None
        mine, by = own(records)[-1], records["attack"][-1]
        alone = int((mine & torch.isin(by, torch.tensor(numbers))).sum())
        right = int((records["prediction"] == records["label"]).sum())
        left = right - int((mine & (by >= 0)).sum()) + alone
        names = " and ".join(str(listed[number]["name"]) for number in numbers)
        return self._judge(alone, right, f"of {left} pictures that gradients left standing, {names} broke {alone}")

    def _judge(self, broken: int, right: int, told: str) -> Finding:
        verdict: Outcome = "pass"
        if broken > self.some * right:
            verdict = "fail" if broken >= self.few and broken > self.much * right else "warn"
        return found(self, verdict, told, ADVICE if verdict == "fail" else FEW)


def last_by_scores(names: Sequence[str]) -> list[int]:
    """The places of attacks without gradients that come after all with some, if there are any of those.

    One that is not ours has no name here, and counts as one with gradients.
    """
    blind = [name in ATTACKS and ATTACKS[name]().access < Access.GRADIENT for name in names]
    guided = [place for place, is_blind in enumerate(blind) if not is_blind]
    return list(range(guided[-1] + 1, len(names))) if guided else []

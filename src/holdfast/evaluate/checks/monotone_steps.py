"""Would more steps change the figure?"""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from holdfast.attacks import Attack, External
from holdfast.attacks.eot import around
from holdfast.attacks.wrapper import Wrapper, with_inside
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.sample import Sample
from holdfast.evaluate.statistics import excess
from holdfast.evaluate.suites import SUITES

MORE = "More steps still help: raise them (--attack pgd --set steps=100, say), with restarts where it is not enough."
OTHER = "The attack is too weak for this model: take more or longer steps, or evaluate with --suite quick."


@dataclass(frozen=True)
class MonotoneSteps:
    """Twice the steps break no fewer pictures, and not many more; nor does the suite "quick" in place of the attack.

    Fewer with twice the steps, beyond what a fair coin explains (sign test, p < `chance`), fails: the attack moves away
    from what it found. More, by over `more` of the pictures that were right and `few` at least, warns: the attack had
    not finished; by over `much` and beyond chance, fails: the figure is too high by about as much. PGD-40 on trained
    models gains up to 7 % in L1 and under 3 % in other norms, an attack of one or two steps 5 to 50 %.
    Cost: the attack with twice the steps on the sample, and the suite "quick" where another one is under evaluation.
    """

    chance: float = 0.01
    more: float = 0.02
    much: float = 0.1
    few: int = 3
    name: ClassVar[str] = "monotone-steps"
    title: ClassVar[str] = "Accuracy does not rise with steps, and more steps change little"

    def look(self, sample: Sample) -> Finding:
        """The attack as it is against longer ones."""
        if sample.in_a_row > 1:
            return found(
                self, "skipped", f"{sample.in_a_row} attacks in a row, where the next one stands in for more steps"
            )
        longer = tuple(twice(attack) for attack in sample.attacks)
        others = {"twice the steps": longer} if longer != sample.attacks else {}
        usual = SUITES["quick"].attacks
        if sample.repeats > 1:
            usual = tuple(around(attack, sample.repeats) for attack in usual)
        if sample.attacks != usual:
            others["the suite quick"] = usual
        findings = [self._compare(sample, words, attacks) for words, attacks in others.items()]
        return max(findings, key=lambda finding: ("pass", "warn", "fail").index(finding.verdict))

    def _compare(self, sample: Sample, words: str, attacks: tuple[Attack | External, ...]) -> Finding:
        eps, right = float(sample.threat.eps), int(sample.right.sum())
        short, long = sample.attacked(eps).broken, sample.attacked(eps, attacks).broken
        lost, gained = int((short & ~long).sum()), int((long & ~short).sum())
        evidence = (
            f"of {right} pictures {int(short.sum())} are broken, {int(long.sum())} by {words} "
            f"({gained} gained, {lost} lost)"
        )
        if excess(lost, gained) < self.chance and words == "twice the steps":
            return found(self, "fail", evidence, "Steps must not hurt: keep the best point seen, or step less far.")
        more, advice = gained - lost, MORE if words == "twice the steps" else OTHER
        if more > self.much * right and excess(gained, lost) < self.chance:
            return found(self, "fail", evidence, advice)
        if more > self.more * right and more >= self.few:
            return found(self, "warn", evidence, advice)
        return found(self, "pass", evidence)


def twice(attack: Any) -> Any:
    """The attack with twice its steps; the same if it has none."""
    if isinstance(attack, Wrapper):
        return with_inside(attack, twice)
    record: Any = attack
    if any(field.name == "steps" for field in fields(record)):
        doubled: Attack | External = replace(record, steps=2 * record.steps)
        return doubled
    return attack

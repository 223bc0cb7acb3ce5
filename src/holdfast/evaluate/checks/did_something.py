"""Did the attack find anything at all?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from holdfast.evaluate.checks.unbounded import Unbounded
from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.provenance import Run
from holdfast.evaluate.rerender import RENDER as RENDERED
from holdfast.evaluate.summary import own, wrong


@dataclass(frozen=True)
class DidSomething:
    """At the largest radius the attack breaks at least one picture that was right.

    Success no higher than the clean error is what an attack reports that does nothing: published tables hold such rows.
    A model that truly holds everywhere at this radius is told apart by naming a larger one in the same call, or by the
    check `unbounded`: where that passed the attack works on this model, and to have broken nothing only warns. So it
    does where pictures are rendered from parameters: a model may be indifferent to all turns, say.
    Cost: none.
    """

    name: ClassVar[str] = "did-something"
    title: ClassVar[str] = "The attack breaks more than was wrong already"

    def read(self, run: Run, records: dict[str, Tensor]) -> Finding:
        """From the verified successes at the largest radius."""
        eps = run["options"]["threat"]["eps"][-1]
        start_wrong = int(wrong(records).sum())
        right = len(records["label"]) - start_wrong
        if eps == 0 or right == 0:
            return found(self, "skipped", "eps is 0" if eps == 0 else "no picture is right before the attack")
        broken, rendered = int(own(records)[-1].sum()), run["options"]["threat"]["name"] in RENDERED
        evidence = f"{broken} of {right} right pictures broken, {start_wrong} wrong from the start"
        if broken:
            return found(self, "pass", evidence)
        return found(
            self,
            "warn" if rendered else "fail",
            evidence,
            "Add a larger radius (--eps 8/255,64/255): an attack that works breaks pictures there.",
        )


def weighed(finding: Finding, made: Sequence[Finding]) -> Finding:
    """The failure of an attack that was seen to work, among the findings `made`, as a warning; any other as it is."""
    works = any(other.name == Unbounded.name and other.verdict == "pass" for other in made)
    if finding.name != DidSomething.name or finding.verdict != "fail" or not works:
        return finding
    return replace(finding, verdict="warn", evidence=f"{finding.evidence}; in the whole box the attack breaks them")

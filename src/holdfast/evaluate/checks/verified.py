"""Do attack and verifier tell the same story?"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.provenance import Run
from holdfast.evaluate.summary import own


@dataclass(frozen=True)
class Verified:
    """What the attack claims of its pictures and its passes is what the verifier measures.

    Compared, of each picture and radius: success claimed and found again on the returned picture; size inside eps and
    box; finite values and logits; a picture wrong from the start returned unchanged; and, in sum, forward and backward
    passes against those that hooks on the model saw. Any difference fails, but for a success that hangs on two logits
    as good as equal, which another batch may round the other way.
    Cost: none, the verifier has run already.
    """

    name: ClassVar[str] = "verified"
    title: ClassVar[str] = "An independent verifier confirms successes, sizes and passes"

    def read(self, run: Run, records: dict[str, Tensor]) -> Finding:
        """From claims, verdicts and counts on record."""
        differ = records["claimed"] != records["success"]
        faults = {
            "claims not confirmed": int((differ & ~records["tie"]).sum()),
            "not finite": int((~records["finite"]).sum()),
            "outside the box": int((~records["inside_box"]).sum()),
            "larger than eps": int((~records["inside_eps"]).sum()),
            "wrong from the start but changed": int((~records["untouched"] & ~records["tie"]).sum()),
        }
        told = [f"{count} {what}" for what, count in faults.items() if count] + _miscounted(records)
        ties = int((differ & records["tie"]).sum())
        evidence = f"{int(own(records).sum())} successes found again on the returned pictures"
        if ties:
            evidence += f", {ties} claims undecided because two logits are as good as equal"
        if not told:
            uncounted = (
                "; passes not seen by hooks, the model is no module"
                if _unseen(records)
                else ", passes agree with hooks"
            )
            return found(self, "pass", evidence + uncounted)
        return found(
            self,
            "fail",
            f"{', '.join(told)}; {evidence}",
            "If the check `randomness` fails as well, the model's own changing answers are the reason. Otherwise the "
            "attack or the engine is at fault: report it with this run.",
        )


def _unseen(records: dict[str, Tensor]) -> bool:
    return bool((records["counted"][:, :2] < 0).any())


def _miscounted(records: dict[str, Tensor]) -> list[str]:
    if _unseen(records):
        return []
    told = []
    for place, kind in enumerate(("forward", "backward")):
        claimed, seen = int(records[kind].sum()), int(records["counted"][:, place].sum())
        if claimed != seen:
            told.append(f"{claimed} {kind} passes claimed, {seen} seen by hooks")
    return told

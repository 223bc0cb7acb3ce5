"""Do attack and verifier tell the same story?"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.provenance import Run, averaged_over
from holdfast.evaluate.summary import own


@dataclass(frozen=True)
class Verified:
    """What the attack claims of its pictures and its passes is what the verifier measures.

    Compared, of each picture and radius: success claimed and found again on the returned picture; size inside eps and
    box; finite values and logits; a picture wrong from the start returned unchanged; and, in sum, forward and backward
    passes against those that hooks on the model saw. Any difference fails, but for a success that hangs on two logits
    as good as equal, which another batch may round the other way.
    Where the attack averages over several answers, the model is taken to answer at random: the verifier then looks
    once more, and only a share of claims above `most` that does not hold fails, for points that are successes in
    every one of those answers should mostly be so again.
    Cost: none, the verifier has run already.
    """

    most: float = 0.25
    name: ClassVar[str] = "verified"
    title: ClassVar[str] = "An independent verifier confirms successes, sizes and passes"

    def read(self, run: Run, records: dict[str, Tensor]) -> Finding:
        """From claims, verdicts and counts on record."""
        differ = records["claimed"] != records["success"]
        averaged, lapsed = averaged_over(run), int((records["claimed"] & ~records["success"]).sum())
        fault = int((differ & ~records["tie"]).sum())
        if averaged > 1:  # one more look at a model that answers at random may well see something else
            fault = lapsed if lapsed > self.most * int(records["claimed"].sum()) else 0
        faults = {
            "claims not confirmed": fault,
            "not finite": int((~records["finite"]).sum()),
            "outside the box": int((~records["inside_box"]).sum()),
            "larger than eps": int((~records["inside_eps"]).sum()),
            "wrong from the start but changed": int((~records["untouched"] & ~records["tie"]).sum()) * (averaged == 1),
        }
        told = [f"{count} {what}" for what, count in faults.items() if count] + _miscounted(records)
        ties = int((differ & records["tie"]).sum())
        evidence = f"{int(own(records).sum())} successes found again on the returned pictures"
        if ties:
            evidence += f", {ties} claims undecided because two logits are as good as equal"
        if averaged > 1:
            evidence += f", {lapsed} more were successes in all of {averaged} answers but not in the verifier's"
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
            "If the check `randomness` fails or warns as well, the model's own changing answers are the reason: "
            f"average over more of them (--eot {4 * averaged if averaged > 1 else 20}). Otherwise the attack or the "
            "engine is at fault: report it with this run.",
        )


def _unseen(records: dict[str, Tensor]) -> bool:
    return bool((records["counted"][:, :2] < 0).any())


def _miscounted(records: dict[str, Tensor]) -> list[str]:
    if _unseen(records):
        return []
    told = []
    for place, kind in enumerate(("forward", "backward")):
        claimed, seen = int(records[kind].sum()), int(records["counted"][:, place].sum())
        # Where the other model is the very object under evaluation, hooks see what was done on it too.
        elsewhere = int(records[name].sum()) if (name := f"{kind}_elsewhere") in records else 0
        if seen not in (claimed, claimed + elsewhere):
            told.append(f"{claimed} {kind} passes claimed, {seen} seen by hooks")
    return told

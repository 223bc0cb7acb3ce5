"""Does a larger radius break at least as much?"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.evaluate.findings import Finding, found
from holdfast.evaluate.provenance import Run
from holdfast.evaluate.sample import Sample
from holdfast.evaluate.statistics import excess
from holdfast.evaluate.summary import eps_text, own

ADVICE = (
    "A larger radius allows all that a smaller one does: take more steps or restarts, or smaller steps "
    "(--set step_size=...)."
)


@dataclass(frozen=True)
class MonotoneEps:
    """The attack breaks no fewer pictures at a larger radius than at a smaller one.

    Each radius is attacked on its own, so single pictures may be lost by chance. It fails when the pictures lost
    between two neighbouring radii outweigh those gained by more than a fair coin explains (sign test, p < `chance`)
    and by more than `least` of all; by less of all, it warns. Read from the records of all pictures where several
    radii were asked for; for a single one, half and double of it are tried on the sample.
    Cost: none, or two attacks on the sample.
    """

    chance: float = 0.01
    least: float = 0.005
    name: ClassVar[str] = "monotone-eps"
    title: ClassVar[str] = "Accuracy does not rise with eps"

    def look(self, sample: Sample) -> Finding | None:
        """Half and double of a single radius, on the sample."""
        if len(sample.threats) > 1:
            return None
        eps = float(sample.threat.eps)
        if eps == 0:
            return found(self, "skipped", "eps is 0")
        if sample.one_radius:
            return found(self, "skipped", "the attack has a radius of its own")
        half = max(1.0, eps // 2) if sample.threat.grain else eps / 2  # what is counted comes in whole numbers
        tried = sorted({half, eps, min(2 * eps, sample.whole_box)})
        return self._judge(tried, [sample.attacked(e).broken for e in tried], sample.threat.name)

    def read(self, run: Run, records: dict[str, Tensor]) -> Finding | None:
        """All radii, on all pictures."""
        listed = run["options"]["threat"]["eps"]
        if len(listed) < 2:
            return None
        return self._judge(listed, list(own(records)), run["options"]["threat"]["name"])

    def _judge(self, eps: list[float], broken: list[Tensor], norm: str) -> Finding:
        pairs = []
        for small, large in zip(broken, broken[1:]):
            lost, gained = int((small & ~large).sum()), int((large & ~small).sum())
            pairs.append((lost, gained, excess(lost, gained) < self.chance))
        counts = ", ".join(f"{int(b.sum())} at {eps_text(e, norm)}" for e, b in zip(eps, broken))
        back = ", ".join(str(lost) for lost, _, _ in pairs)
        evidence = (
            f"of {len(broken[0])} pictures {counts} are broken; from one radius to the next {back} are lost again"
        )
        worse = [lost - gained for lost, gained, beyond in pairs if beyond]
        if worse:
            return found(self, "fail" if max(worse) > self.least * len(broken[0]) else "warn", evidence, ADVICE)
        return found(self, "pass", evidence)

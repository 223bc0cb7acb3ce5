"""Reasons to doubt a robustness figure: one check a file, one line here.

Each check has a name, a title (a statement that holds when it passes) and gives a `Finding` with verdict, evidence and
advice. Checks of the sample ask the model about the first pictures; checks of the records read what is on file of all.
"""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from holdfast.evaluate.checks.ascent import Ascent
from holdfast.evaluate.checks.binarisation import Binarisation
from holdfast.evaluate.checks.converged import Converged
from holdfast.evaluate.checks.did_something import DidSomething, weighed
from holdfast.evaluate.checks.dynamic import Dynamic
from holdfast.evaluate.checks.gradients import Gradients
from holdfast.evaluate.checks.input_scale import InputScale
from holdfast.evaluate.checks.monotone_eps import MonotoneEps
from holdfast.evaluate.checks.monotone_steps import MonotoneSteps
from holdfast.evaluate.checks.noise import Noise
from holdfast.evaluate.checks.probabilities import Probabilities
from holdfast.evaluate.checks.randomness import Randomness
from holdfast.evaluate.checks.scores_only import ScoresOnly
from holdfast.evaluate.checks.stability import Stability
from holdfast.evaluate.checks.transfer import Transfer
from holdfast.evaluate.checks.unbounded import Unbounded
from holdfast.evaluate.checks.verified import Verified
from holdfast.evaluate.findings import Check, Finding, RecordCheck, SampleCheck, found
from holdfast.evaluate.provenance import Run
from holdfast.evaluate.sample import Sample
from holdfast.generators import seeded

__all__ = ["RECORD_CHECKS", "SAMPLE_CHECKS", "in_order", "of_records", "of_sample", "skipped"]

SAMPLE_CHECKS: tuple[SampleCheck, ...] = (
    InputScale(),
    Probabilities(),
    Randomness(),
    Dynamic(),
    Gradients(),
    Ascent(),
    Stability(),
    Unbounded(),
    MonotoneEps(),
    MonotoneSteps(),
    Converged(),
    Noise(),
    ScoresOnly(),
    Transfer(),
    Binarisation(),
)
RECORD_CHECKS: tuple[RecordCheck, ...] = (MonotoneEps(), ScoresOnly(), DidSomething(), Verified())


def of_sample(
    sample: Sample,
    numbers: Iterable[int] = range(len(SAMPLE_CHECKS)),
    tell: Callable[[str], None] = lambda name: None,
) -> list[Finding]:
    """The findings of those checks that ask the model, by their numbers among `SAMPLE_CHECKS`; by default of all.

    `tell` hears the name of each before it is made.
    """
    looked = []
    for number in numbers:
        check = SAMPLE_CHECKS[number]
        tell(check.name)
        with seeded(sample.seed, f"check {check.name}", sample.x.device):
            looked.append(check.look(sample))
    return [finding for finding in looked if finding is not None]


def of_records(run: Run, records: dict[str, Tensor], made: Sequence[Finding] = ()) -> list[Finding]:
    """The findings of all checks that read the records, in the light of those `made` by asking the model."""
    read = [check.read(run, records) for check in RECORD_CHECKS]
    return [weighed(finding, made) for finding in read if finding is not None]


def skipped(why: str) -> list[Finding]:
    """All checks of the sample as skipped."""
    return [found(check, "skipped", why) for check in SAMPLE_CHECKS]


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Findings in the order of the registry, one a name: a finding made replaces a skipped one."""
    order = list(dict.fromkeys(check.name for check in _all()))
    best = {f.name: f for f in sorted(findings, key=lambda f: f.verdict != "skipped")}
    return sorted(best.values(), key=lambda f: order.index(f.name))


def _all() -> list[Check]:
    return [*SAMPLE_CHECKS, *RECORD_CHECKS]

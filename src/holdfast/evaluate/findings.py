"""What a check says, and what it is."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from holdfast.evaluate.provenance import Run
from holdfast.evaluate.sample import Sample

Outcome = Literal["pass", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The result of one check: the verdict, the numbers behind it, and what to do about it."""

    name: str
    title: str
    verdict: Outcome
    evidence: str
    advice: str = ""

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Check(Protocol):
    """What all checks have: a name for machines and a title, a statement that holds when the check passes."""

    name: ClassVar[str]
    title: ClassVar[str]


class SampleCheck(Check, Protocol):
    """A check that asks the model about a sample of pictures."""

    def look(self, sample: Sample) -> Finding | None:
        """The finding, or None where another kind of check answers for this run."""
        ...


class RecordCheck(Check, Protocol):
    """A check that reads what is on record of all pictures."""

    def read(self, run: Run, records: dict[str, Tensor]) -> Finding | None:
        """The finding, or None where another kind of check answers for this run."""
        ...


def found(check: Check, verdict: Outcome, evidence: str, advice: str = "") -> Finding:
    """A finding of `check`; advice is kept only where something is to be done."""
    return Finding(check.name, check.title, verdict, evidence, "" if verdict == "pass" else advice)

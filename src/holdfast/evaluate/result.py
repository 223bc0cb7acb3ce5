"""What an evaluation returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from holdfast.evaluate.findings import Finding
from holdfast.evaluate.statistics import Rate


class Progress(Protocol):
    """Told how far the work is; the command line draws a bar from it."""

    def update(self, done_pictures: int, total: int, text: str) -> None:
        """`done_pictures` of `total` are finished; `text` says what is being done now."""
        ...


@dataclass(frozen=True)
class Point:
    """One radius of the security curve."""

    eps: float
    eps_text: str
    robust: Rate  # right before, and broken neither at this radius nor at a smaller one
    own: Rate  # the same for the attack of this radius alone
    robust_8bit: Rate  # counting only adversarial pictures that survive rounding to 8 bits
    size: Mapping[str, float] | None  # median, q25, q75 of the successes of this radius


@dataclass(frozen=True)
class Evaluation:
    """How a model fails, and whether to believe it. `summary` is the content of summary.json, as plain data."""

    clean: Rate
    robust: Rate  # at the largest radius, over all pictures
    curve: tuple[Point, ...]  # ascending radii
    success: (
        Rate | None
    )  # of the pictures that were right, those broken: at any radius, if the smallest change is sought
    size: Mapping[str, float] | None  # median, q25, q75 of their changes, infinite where none was found
    queries: Mapping[str, float] | None  # median and mean of the points asked about each
    checks: tuple[Finding, ...]
    believe: bool
    because: str
    passes: Mapping[str, float]
    seconds: float
    run: Path | None  # the run folder
    records: Mapping[str, Tensor]  # per picture, as `holdfast.evaluate.shards.Shard` without the pictures
    summary: Mapping[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """For `--json`: the summary with `seconds` and `run`."""
        return {**self.summary, "seconds": self.seconds, "run": None if self.run is None else str(self.run)}


def evaluation(summary: dict[str, Any], records: Mapping[str, Tensor], seconds: float, run: Path | None) -> Evaluation:
    """An `Evaluation` from the content of summary.json."""
    curve = tuple(
        Point(
            eps=point["eps"],
            eps_text=point["eps_text"],
            robust=_rate(point["robust"]),
            own=_rate(point["own"]),
            robust_8bit=_rate(point["robust_8bit"]),
            size=point["size"],
        )
        for point in summary["curve"]
    )
    return Evaluation(
        clean=_rate(summary["clean"]),
        robust=_rate(summary["robust"]),
        curve=curve,
        success=None if summary["success"] is None else _rate(summary["success"]),
        size=summary["size"],
        queries=summary["queries"],
        checks=tuple(Finding(**check) for check in summary["checks"]),
        believe=summary["believe"]["verdict"],
        because=summary["believe"]["because"],
        passes=summary["passes"],
        seconds=seconds,
        run=run,
        records=records,
        summary=summary,
    )


def _rate(plain: Mapping[str, Any]) -> Rate:
    return Rate(plain["k"], plain["n"])

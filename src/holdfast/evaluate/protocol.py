"""The evaluation from beginning to end: refuse bad input, check a sample, attack shard by shard, sum up."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from torch import Tensor

from holdfast.access.borrow import Model
from holdfast.attacks import Attack, External
from holdfast.data import Pictures
from holdfast.evaluate import checks as all_checks
from holdfast.evaluate import edges
from holdfast.evaluate.findings import Finding
from holdfast.evaluate.generators import seeded
from holdfast.evaluate.job import Job
from holdfast.evaluate.request import Request, chosen
from holdfast.evaluate.result import Evaluation, Progress, evaluation
from holdfast.evaluate.run_folder import CHECKS, RECORDS, SUMMARY, TIMING, Memory, RunFolder, Store, look_into
from holdfast.evaluate.sample import Sample
from holdfast.evaluate.speed import Use
from holdfast.evaluate.summary import summarise
from holdfast.evaluate.table import records_csv
from holdfast.evaluate.timing import Timing
from holdfast.files import alone, write_atomically
from holdfast.threats import Threat

log = logging.getLogger("holdfast")


def evaluate(
    model: Model,
    pictures: Pictures,
    threat: Threat,
    attack: Attack | External | Sequence[Attack | External] | None = None,
    *,
    eps: float | Sequence[float] | None = None,
    seed: int = 0,
    batch: int | Literal["auto"] = "auto",
    shard_size: int | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    shard: tuple[int, int] | None = None,
    checks: bool = True,
    stand_in: Use = "auto",
    transfer_from: Model | None = None,
    progress: Progress | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure how accurate a model is under attack, have it verified, and say whether to believe it.

    Args: `model` pictures (N, C, H, W) in the threat's box to logits (N, K); `threat` norm, box and, unless `eps`
    names one or several, the radius; `attack` one, or several from cheap to costly, default the suite "quick", other
    libraries' come by `holdfast.bridges`; `seed` of all noise; `batch` pictures a call of the model, "auto" measures (a
    part of a sharded run does not, so that all parts agree); `shard_size` pictures a shard, the unit that is written
    and repeated, default 1000, fewer for large pictures; `out` the run folder, None keeps everything in memory;
    `resume` goes on with the run in `out`, or begins it; `shard` (i, n), i from 1, attacks every n-th shard only, for
    `merge`; `checks` False leaves out those that ask the model; `stand_in` whether a faster equal of the model is
    attacked in its place: "auto" where measuring pays and shows that it wins, "on" wherever one agrees with the model,
    "off" never; what is found is verified on the model itself all the same; `transfer_from` another model, such as the
    one without its defence, that a check attacks to show the pictures to this one; `name`, `card` and `command` (its
    words) go on record.

    Every radius is attacked on its own; a picture broken at a smaller one counts as broken at a larger one as well.
    Memory does not grow with the number of pictures but for a few hundred bytes of records each. A run that was
    killed and resumed has the bytes of one that was not, in every file but timing.json. So have two runs with the
    same arguments, in one process or in several, if `batch` is a number and `stand_in` "off": "auto" measures, and may
    choose otherwise the next time (parts of a run take 256 and no stand-in).

    Raises: `OptionError`, `DataError`, `ModelError` for bad input; `RunError` for a folder that cannot be used, is in
    use, or was begun with other options; `AttackDidNothing` when the attack changed no picture; `AttackError` when
    one from elsewhere fails.
    Cost: the attack's passes at each radius, three forward passes a picture and radius to verify, and the checks.
    """
    edges.check_pictures(pictures, threat)
    request = Request(
        model=model,
        pictures=pictures,
        attacks=chosen(attack),
        threats=edges.radii(threat, eps, pictures.shape),
        seed=seed,
        batch=batch,
        shard_size=shard_size,
        part=shard,
        checks=checks,
        stand_in=stand_in,
        transfer_from=transfer_from,
        name=name,
        card=card,
        command=command,
    )
    path = None if out is None else Path(out)
    recorded = None if path is None else look_into(path, resume)
    with nullcontext() if path is None else alone(path):
        run = request.described(recorded)
        store = Memory(run) if path is None else RunFolder.begin(path, run)
        timing = Timing(None if recorded is None else store.read(TIMING) or {})
        return Work(request, request.job(run), store, timing, progress).do()


@dataclass(frozen=True)
class Work:
    """The work of one process on one run."""

    request: Request
    job: Job
    store: Store
    timing: Timing
    progress: Progress | None

    def do(self) -> Evaluation:
        """Check, attack what is left, sum up."""
        numbers = self.request.numbers
        if 0 in numbers and self.request.checks and self.store.read(CHECKS) is None:
            self.check()
        self.attack(numbers)
        if self.request.part is None:
            return finish(self.store, numbers, self.timing.stop())
        return sum_up(self.store, numbers, self.timing.stop()["seconds"])

    def check(self) -> None:
        """The checks that ask the model: once a run, by the process that has the first shard."""
        job = self.job
        self.tell(0, len(job.pictures), "checking")
        begun = perf_counter()
        sample = Sample(
            job.model,
            job.pictures,
            job.attacks,
            job.threats,
            seed=job.seed,
            batch=job.batch,
            dtype=job.dtype,
            sources=job.sources,
        )
        with seeded(job.seed, "checks", sample.x.device):
            findings = all_checks.of_sample(sample)
        for finding in findings:
            if finding.verdict == "fail":
                log.warning("check %s failed: %s. %s", finding.name, finding.evidence, finding.advice)
        content = {
            "format": 1,
            "pictures": len(sample),
            "passes": {"forward": sample.forward, "backward": sample.backward},
            "findings": [finding.to_plain() for finding in findings],
        }
        self.store.write(CHECKS, content)
        self.timing.checks(perf_counter() - begun)

    def attack(self, numbers: Sequence[int]) -> None:
        """All shards that are not done yet, each written as soon as it is finished."""
        slices = self.request.slices
        size = {number: slices[number].stop - slices[number].start for number in numbers}
        left = [number for number in numbers if not self.store.has(number)]
        total = sum(size.values())
        done = total - sum(size[number] for number in left)
        for number in left:
            begun = perf_counter()
            tell = partial(
                self._tell_share, done, size[number], total, f"attacking shard {number + 1} of {len(slices)}"
            )
            tell(0.0)
            self.store.write_shard(number, self.job.attack(slices[number], tell))
            done += size[number]
            self.timing.shard(number, size[number], perf_counter() - begun)
            self.store.write(TIMING, self.timing.stop())
        self.tell(done, total, "done")

    def _tell_share(self, done: int, size: int, total: int, text: str, share: float) -> None:
        self.tell(done + int(size * share), total, text)

    def tell(self, done: int, total: int, text: str) -> None:
        """Report progress, if anybody listens."""
        if self.progress is not None:
            self.progress.update(done, total, text)


def finish(store: Store, numbers: Sequence[int], timing: dict[str, Any]) -> Evaluation:
    """Write records.csv, timing.json and summary.json from what the store holds, and return the evaluation."""
    made = sum_up(store, numbers, timing["seconds"])
    if store.path is not None:
        write_atomically(store.path / RECORDS, records_csv(store.run, made.records))
    store.write(TIMING, timing)
    # Last of all: a folder with a summary is a finished run.
    store.write(SUMMARY, dict(made.summary))
    return made


def sum_up(store: Store, numbers: Sequence[int], seconds: float) -> Evaluation:
    """The evaluation of the given shards."""
    records: dict[str, Tensor] = store.records(numbers)
    asked = store.read(CHECKS)
    if asked is None:
        findings = all_checks.skipped("the checks that ask the model were left out")
        passes = {"forward": 0, "backward": 0}
    else:
        findings, passes = [Finding(**finding) for finding in asked["findings"]], asked["passes"]
    findings = all_checks.in_order([*findings, *all_checks.of_records(store.run, records)])
    summary = summarise(store.run, records, findings, passes)
    return evaluation(summary, records, seconds, store.path)

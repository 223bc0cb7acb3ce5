"""The evaluation from beginning to end: refuse bad input, check a sample, attack shard by shard, sum up."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from torch import Tensor

from holdfast import processes, ranks
from holdfast.access.borrow import Model, home
from holdfast.attacks import Attack, External, Reserve
from holdfast.data import Pictures
from holdfast.errors import OptionError, RunError
from holdfast.evaluate import checks as all_checks
from holdfast.evaluate import edges, shards
from holdfast.evaluate.findings import Finding
from holdfast.evaluate.job import Job
from holdfast.evaluate.provenance import Run, differences
from holdfast.evaluate.request import Request, chosen
from holdfast.evaluate.result import Evaluation, Progress, evaluation
from holdfast.evaluate.run_folder import CHECKS, RECORDS, SUMMARY, TIMING, Memory, RunFolder, Store, look_into
from holdfast.evaluate.sample import Sample, spent
from holdfast.evaluate.speed import Use
from holdfast.evaluate.summary import summarise
from holdfast.evaluate.table import records_csv
from holdfast.evaluate.timing import Account, Timing
from holdfast.files import alone, write_atomically
from holdfast.processes import Processes
from holdfast.threats import AnyThreat

log = logging.getLogger("holdfast")

# The checks that ask whether gradients show the way; where one fails, other attacks are called for.
CALLING = ("gradients", "ascent", "unbounded", "noise", "scores-only", "transfer", "binarisation")


def evaluate(
    model: Model,
    pictures: Pictures,
    threat: AnyThreat,
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

    Where `torchrun` has launched several processes, all of them call this with the same arguments, share the work, and
    get the same evaluation; the first one writes the folder and hears of the progress.

    Raises: `OptionError`, `DataError`, `ModelError` for bad input; `RunError` for a folder that cannot be used, is in
    use, or was begun with other options; `AttackDidNothing` when the attack changed no picture; `AttackError` when
    one from elsewhere fails; `FailedElsewhere` when another of several processes failed.
    Cost: the attack's passes at each radius, three forward passes a picture and radius to verify, and the checks.
    """
    if shard is not None and ranks.size() > 1:
        raise OptionError(
            f"evaluate: shard {shard[0]}/{shard[1]} with {ranks.size()} processes; allowed: one of the two. Processes "
            "share the shards by themselves: leave it out, or launch one process a part."
        )
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
    with processes.joined(home(model, pictures.images)) as here:
        # The first process may have chosen a name for the folder.
        named = here.agree(lambda: None if out is None else str(out))
        path = None if named is None else Path(named)
        recorded = look_into(path, resume) if path is not None and here.rank == 0 else None
        with nullcontext() if path is None or here.rank else alone(path):
            store = _begin(request, path, recorded, here)
            timing = Timing(None if recorded is None else store.read(TIMING) or {})
            return Work(request, request.job(store.run), store, timing, progress, here, Account(here.rank)).do()


def _begin(request: Request, path: Path | None, recorded: Run | None, here: Processes) -> Store:
    """The run as the first process begins it or goes on with it, and as the others then find it."""
    begun: list[Store] = []

    def begin() -> Run:
        run = request.described(recorded)
        begun.append(Memory(run) if path is None else RunFolder.begin(path, run))
        return begun[0].run

    run = here.agree(begin)
    if begun:
        return begun[0]
    other = differences(run, request.described(run))
    if other:
        raise RunError(
            f"rank {here.rank} of {here.size} is not given what rank 0 is: {'; '.join(other)}; allowed: the same "
            "model, data and options in all processes. Load the weights in each, or seed what is random alike."
        )
    return Memory(run) if path is None else RunFolder.join(path, run)


@dataclass
class Work:
    """The work of one process on one run; `earlier` are the pictures that were done before it began."""

    request: Request
    job: Job
    store: Store
    timing: Timing
    progress: Progress | None
    here: Processes
    account: Account
    earlier: int = 0

    def do(self) -> Evaluation:
        """Check, attack what is left, sum up."""
        here, numbers = self.here, self.request.numbers
        left = here.agree(lambda: self.left(numbers))
        if left["checks"]:
            self.check()
        told = self.call_reserves(left["checks"])
        self.attack(numbers, left["shards"])
        if left["checks"] and not told:
            self.write_checks(wait=True)
        self.gather(left["shards"])
        made = self.sum_up(numbers) if here.rank == 0 else None
        seconds = here.agree(lambda: self.timing.plain["seconds"])
        return made or sum_up(self.store, numbers, seconds)

    def call_reserves(self, checking: bool) -> bool:
        """Let attacks in reserve take part where a check calls for them, or none was made that could.

        Returns whether all checks are told and written, for which it has to wait if there are such attacks.
        """
        if not any(isinstance(attack, Reserve) for attack in self.job.attacks):
            return False
        if checking:
            self.write_checks(wait=True)
        self.job = replace(self.job, called=self.here.agree(self.doubtful))
        if self.job.called and self.here.rank == 0:
            log.warning("attacks in reserve take part: a check casts doubt on the gradients, or none was made")
        return True

    def doubtful(self) -> bool:
        """Whether the checks on record call for attacks in reserve."""
        return calls_for_more(self.store.read(CHECKS))

    def left(self, numbers: Sequence[int]) -> dict[str, Any]:
        """What there is to do: whether to make the checks, and the numbers of the shards."""
        checks = 0 in numbers and self.request.checks and self.store.read(CHECKS) is None
        todo = [number for number in numbers if not self.store.has(number)]
        if 0 < len(todo) < self.here.size:
            log.warning(
                "%d processes have %d shards to attack, so some have none; a smaller shard size makes more",
                self.here.size,
                len(todo),
            )
        return {"checks": checks, "shards": todo}

    def sum_up(self, numbers: Sequence[int]) -> Evaluation:
        """The evaluation, and in a whole run the files that are made last."""
        timing = self.timing.stop()
        if self.request.part is None:
            return finish(self.store, numbers, timing)
        return sum_up(self.store, numbers, timing["seconds"])

    def check(self) -> None:
        """The checks that ask the model: once a run, by the process that has the first shard, or by all together."""
        job = self.job
        begun = perf_counter()
        sample = Sample(
            job.model,
            job.pictures,
            job.attacks,
            job.threats,
            seed=job.seed,
            batch=job.batch,
            dtype=job.dtype,
            sources=self.request.sources,
        )
        numbers = self.here.draw("checks", range(len(all_checks.SAMPLE_CHECKS)))
        findings = [
            finding.to_plain()
            for finding in all_checks.of_sample(sample, numbers, lambda name: self.tell(f"checking {name}"))
        ]
        told = {"findings": findings, "pictures": len(sample), **sample.to_plain()}
        self.here.tell(f"checks {self.here.rank}", json.dumps(told).encode())
        self.account.checks(sample.forward, sample.backward, perf_counter() - begun)
        self.write_checks()

    def write_checks(self, wait: bool = False) -> None:
        """checks.json, once all checks are made."""
        if (self.here.rank and self.store.path is not None) or self.store.read(CHECKS) is not None:
            return
        told = self.told("checks", wait)
        if None in told:
            return
        made = [json.loads(one) for one in told if one is not None]
        findings = all_checks.in_order([Finding(**finding) for one in made for finding in one["findings"]])
        for finding in findings if self.here.rank == 0 else ():
            if finding.verdict == "fail":
                log.warning("check %s failed: %s. %s", finding.name, finding.evidence, finding.advice)
        content = {
            "format": 1,
            "pictures": made[0]["pictures"],
            "passes": spent(made),
            "findings": [finding.to_plain() for finding in findings],
        }
        self.store.write(CHECKS, content)

    def attack(self, numbers: Sequence[int], left: Sequence[int]) -> None:
        """All shards that are not done yet, each written as soon as it is finished."""
        slices = self.request.slices
        size = {number: slices[number].stop - slices[number].start for number in numbers}
        self.earlier = sum(size.values()) - sum(size[number] for number in left)
        for number in self.here.deal("shards", left):
            begun = perf_counter()
            text = f"attacking shard {number + 1} of {len(slices)}"

            def tell(share: float, text: str = text, pictures: int = size[number]) -> None:
                self.tell(text, pictures * share)

            tell(0.0)
            shard = self.job.attack(slices[number], tell)
            self.store.write_shard(number, shard)
            if self.store.path is None and self.here.size > 1:
                self.here.tell(f"shard {number}", shards.encode(shards.without_pixels(shard), number))
            self.account.shard(number, shard, perf_counter() - begun)
            self.note_time()
            self.write_checks()

    def note_time(self, wait: bool = False) -> None:
        """Tell the others what was done here; the first process writes what all did."""
        if not wait:
            self.here.tell(f"account {self.here.rank}", json.dumps(asdict(self.account)).encode())
        if self.here.rank == 0:
            self.timing.note([json.loads(one) for one in self.told("account", wait) if one is not None])
            self.store.write(TIMING, self.timing.stop())

    def gather(self, left: Sequence[int]) -> None:
        """Wait until all processes have done their work, and have the records of all of it."""
        self.note_time()
        self.here.tell(f"finished {self.here.rank}", b"")
        self.told("finished", wait=True)
        self.note_time(wait=True)
        self.tell("done")
        for number in left if self.store.path is None else ():
            if not self.store.has(number):
                self.store.write_shard(number, shards.loads(self.here.wait_for(f"shard {number}")))

    def told(self, what: str, wait: bool = False) -> list[bytes | None]:
        """What each process told, None for those that have not yet."""
        names = [f"{what} {rank}" for rank in range(self.here.size)]
        if wait:
            return [self.here.wait_for(name, lambda: self.tell("waiting for other processes")) for name in names]
        return [self.here.heard(name) for name in names]

    def tell(self, text: str, share: float = 0.0) -> None:
        """Report progress, if anybody listens: `share` of a shard is done here beside whole ones."""
        done = self.here.done(self.account.pictures + share)
        if self.progress is not None and self.here.rank == 0:
            self.progress.update(self.earlier + int(done), self.pictures, text)

    @property
    def pictures(self) -> int:
        """How many pictures there are to attack, those done before included."""
        slices = self.request.slices
        return sum(slices[number].stop - slices[number].start for number in self.request.numbers)


def calls_for_more(asked: dict[str, Any] | None) -> bool:
    """Whether a check failed that asks if gradients show the way; yes, too, where none of them was made."""
    findings = [] if asked is None else asked["findings"]
    verdicts = [finding["verdict"] for finding in findings if finding["name"] in CALLING]
    return "fail" in verdicts or all(verdict == "skipped" for verdict in verdicts)


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
    findings = all_checks.in_order([*findings, *all_checks.of_records(store.run, records, findings)])
    summary = summarise(store.run, records, findings, passes, called=calls_for_more(asked))
    return evaluation(summary, records, seconds, store.path)

"""One shard of work: attack its pictures at every radius, have the verifier judge each result, make the records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.access import Access
from holdfast.access.borrow import Model, home
from holdfast.attacks import Attack, AttackResult, External, Reserve, run_in_a_row
from holdfast.attacks.engine import Progress
from holdfast.attacks.result import overwrite
from holdfast.data import Pictures
from holdfast.evaluate.edges import norm_of
from holdfast.evaluate.verify import Meter, Verdict, refuse_idle, verify
from holdfast.generators import seeded
from holdfast.threats import Threat

LARGEST = 2**24  # input values in a shard: 64 MiB of float32 for the pictures, a few times that in work
SMALLEST = 64  # pictures that a shard keeps when it is cut for the sake of several processes; fewer fill no batch
EIGHT = 8  # shards, and multiples of it, are shared evenly by 2, 4 and 8 processes


@dataclass(frozen=True)
class Job:
    """What is done to every shard."""

    model: Model
    pictures: Pictures
    attacks: tuple[Attack | External, ...]
    threats: tuple[Threat, ...]  # ascending eps
    seed: int
    batch: int
    dtype: torch.dtype  # of the pictures
    tie: float  # two logits closer than this share of the larger one are as good as equal
    faster: Model | None = None  # stands in for the model while it is attacked
    called: bool = True  # whether attacks in reserve take part

    def attack(self, rows: slice, tell: Callable[[float], None] = lambda share: None) -> dict[str, Tensor]:
        """As `attacked`, with numbers of their own for a model that draws some."""
        with seeded(self.seed, f"pictures from {rows.start}", home(self.model, self.pictures.images)):
            return self.attacked(rows, tell)

    def attacked(self, rows: slice, tell: Callable[[float], None]) -> dict[str, Tensor]:
        """The records (`holdfast.evaluate.shards.Shard`) of these pictures; `tell` hears which share of it is done.

        Raises: `AttackDidNothing` as `verify`; `ModelError` and `DataError` as the engine; `AttackError` as
        `run_external`.
        """
        there = home(self.model, self.pictures.images)
        x, y = self.pictures.x(rows, self.dtype).to(there), self.pictures.labels[rows].to(there)
        columns: dict[str, list[Tensor]] = {}
        whole: dict[str, Tensor] = {}
        stored: dict[str, Tensor] = {}
        broken = torch.zeros(len(y), dtype=torch.bool)
        for number, threat in enumerate(self.threats):
            found, verdict, counted = self._one(x, y, threat, self.pictures.place[rows], self._progress(number, tell))
            if not whole:  # a model that answers at random would give another one at each radius
                whole = {"prediction": verdict.prediction.cpu(), "confidence": verdict.confidence.cpu()}
                start_wrong = whole["prediction"] != self.pictures.labels[rows].cpu()
            # A larger radius allows all that a smaller one does, so what broke there is broken here too.
            broken = broken | verdict.success.cpu() | start_wrong
            row = {
                **_row(found, verdict, self.tie),
                "broken": broken,
                "counted": torch.tensor([*counted, verdict.passes]),
            }
            for name, tensor in row.items():
                columns.setdefault(name, []).append(tensor.cpu())
            kept = (verdict.success.cpu() & ~start_wrong).nonzero().flatten()
            stored[f"adv.{number}.rows"] = kept
            stored[f"adv.{number}.x"] = found.x_adv[kept.to(there)].cpu()
        return {
            "index": self.pictures.place[rows].clone(),
            "label": self.pictures.labels[rows].clone(),
            "x": self.pictures.images[rows].clone(),
            **whole,
            **stored,
            **{name: torch.stack(tensors) for name, tensors in columns.items()},
        }

    @property
    def taking_part(self) -> list[Attack | External]:
        """The attacks, those in reserve only if they are called."""
        return [attack for attack in self.attacks if self.called or not isinstance(attack, Reserve)]

    def _progress(self, number: int, tell: Callable[[float], None]) -> Progress:
        """The engine's progress at one radius as a share of the whole shard."""
        return lambda done, total: tell((number + done / max(total, 1)) / len(self.threats))

    def _one(
        self, x: Tensor, y: Tensor, threat: Threat, place: Tensor, progress: Progress
    ) -> tuple[AttackResult, Verdict, tuple[int, int]]:
        """What the attacks found at one radius, the verdict on it, and the passes counted by hooks (-1: not counted).

        Where a stand-in sees a success, or a right picture, and the model does not, by a rounding, the picture is
        attacked again on the model itself.
        """
        found, counted = self._run(self.faster or self.model, x, y, threat, place, progress)
        verdict = self._verify(x, y, found.x_adv, threat)
        doubtful = ((found.success & ~verdict.success) | ~verdict.untouched_when_start_wrong).nonzero().flatten()
        if self.faster is not None and len(doubtful):
            again, more = self._run(self.model, x[doubtful], y[doubtful], threat, place[doubtful.cpu()], None)
            found = overwrite(found, doubtful, again)
            counted = (counted[0] + more[0], counted[1] + more[1])
            verdict = self._verify(x, y, found.x_adv, threat)
        # With a search on scores in the row pictures were attacked all the same; checks tell of dead gradients.
        levels = [attack.access for attack in self.taking_part]
        by_gradient = max(levels) >= Access.GRADIENT and Access.SCORES not in levels
        if not any(isinstance(attack, External) and attack.restores for attack in self.attacks):
            refuse_idle(verdict, float(threat.eps), by_gradient, None if counted[1] < 0 else counted[1])
        return found, verdict, counted

    def _run(
        self, model: Model, x: Tensor, y: Tensor, threat: Threat, place: Tensor, progress: Progress | None
    ) -> tuple[AttackResult, tuple[int, int]]:
        with Meter(model) as meter:
            found = run_in_a_row(
                self.taking_part,
                model,
                x,
                y,
                threat,
                seed=self.seed,
                batch=self.batch,
                picture=place,
                progress=progress,
            )
        return found, (meter.forward, meter.backward) if meter.counts else (-1, -1)

    def _verify(self, x: Tensor, y: Tensor, x_adv: Tensor, threat: Threat) -> Verdict:
        return verify(
            self.model,
            x,
            x_adv,
            y,
            norm=norm_of(threat),
            eps=float(threat.eps),
            low=threat.low,
            high=threat.high,
            batch=self.batch,
            refuse_nothing=False,
        )


def _row(found: AttackResult, verdict: Verdict, tie: float) -> dict[str, Tensor]:
    names = (
        "prediction_adv",
        "confidence_adv",
        "success",
        "success_8bit",
        "finite",
        "inside_box",
        "inside_eps",
        "size",
    )
    return {
        **{name: getattr(verdict, name) for name in names},
        "untouched": verdict.untouched_when_start_wrong,
        "tie": torch.minimum(verdict.gap_adv, verdict.start_gap) <= tie,
        "claimed": found.success,
        **{name: getattr(found, name) for name in ("step", "attack", "queries", "forward", "backward")},
    }


def bounds(pictures: int, values: int, shard_size: int | None) -> list[slice]:
    """Which pictures make up each shard: consecutive, and as equal in number as can be.

    Equal, so that no shard is so small that its result says nothing. By default 1000 pictures at most, fewer where
    a picture has many values; and a multiple of eight, or four or two, where that leaves each `SMALLEST` pictures.
    Depends on nothing but its arguments: several processes share the shards that one process would have.
    """
    largest = shard_size or max(1, min(1000, LARGEST // max(values, 1)))
    count = -(-pictures // largest)
    if shard_size is None:
        even = EIGHT * -(-count // EIGHT)
        count = next((n for n in (even, 4, 2) if n >= count and pictures >= n * SMALLEST), count)
    edges = [pictures * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:])]


def mine(shards: int, part: Sequence[int] | None) -> list[int]:
    """The numbers of the shards that part (i, n), i from 1, attacks: every n-th, from i - 1 on."""
    return [number for number in range(shards) if part is None or number % part[1] == part[0] - 1]

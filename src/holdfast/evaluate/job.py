"""One shard of work: attack its pictures, have the verifier judge each result at each radius, make the records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from holdfast.access import Access
from holdfast.access.borrow import Model, home
from holdfast.attacks import Attack, AttackResult, External, Reserve, Views, run_in_a_row, smallest
from holdfast.attacks.attack import minimal
from holdfast.attacks.engine import Progress
from holdfast.attacks.eot import views_of
from holdfast.attacks.result import overwrite
from holdfast.data import Pictures
from holdfast.evaluate.edges import measured
from holdfast.evaluate.landscape import landscape
from holdfast.evaluate.looks import LOOKS, looked_at
from holdfast.evaluate.verify import Meter, Verdict, refuse_idle, verify
from holdfast.generators import seeded
from holdfast.lanes import column
from holdfast.losses import Goal
from holdfast.threats import AnyThreat, Rendered, Rotation, whole_box

LARGEST = 2**24  # input values in a shard: 64 MiB of float32 for the pictures, a few times that in work
SMALLEST = 64  # pictures that a shard keeps when it is cut for the sake of several processes; fewer fill no batch
EIGHT = 8  # shards, and multiples of it, are shared evenly by 2, 4 and 8 processes

ELSEWHERE = ("forward_elsewhere", "backward_elsewhere")  # passes of another model, where there is one

One = tuple[AttackResult, Verdict, tuple[int, int]]
"""What attacks found within one threat, the verdict on it, and the passes counted by hooks (-1: not counted)."""


@dataclass(frozen=True)
class Job:
    """What is done to every shard."""

    model: Model
    pictures: Pictures
    attacks: tuple[Attack | External, ...]
    threats: tuple[AnyThreat, ...]  # ascending eps
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
        place = self.pictures.place[rows]
        search = self._one(x, y, self._anywhere(x), place, self._progress(0, 1, tell)) if self.sought else None
        for number, threat in enumerate(self.threats):
            if search is None:
                one = self._one(x, y, threat, place, self._progress(number, len(self.threats), tell))
            else:
                one = self._at(x, y, threat, search)
            found, verdict, counted = one
            if not whole:  # a model that answers at random would give another one at each radius
                whole = {"prediction": verdict.prediction.cpu(), "confidence": verdict.confidence.cpu()}
                start_wrong = whole["prediction"] != self.pictures.labels[rows].cpu()
            # A larger radius allows all that a smaller one does, so what broke there is broken here too.
            broken = broken | verdict.success.cpu() | start_wrong
            row = {
                **_row(found, verdict, self.tie),
                **self._elsewhere(found),
                "broken": broken,
                "counted": torch.tensor([*counted, verdict.passes]),
            }
            if self.views is not None:
                row |= self._looked_at(self.views, x, y, found.x_adv, verdict, threat, place)
                row["counted"][2] += 2 * LOOKS * int(verdict.success.sum())
            for name, tensor in row.items():
                columns.setdefault(name, []).append(tensor.cpu())
            kept = (verdict.success.cpu() & ~start_wrong).nonzero().flatten()
            stored |= pictures_of(found, f"adv.{number}", kept)
        if search is not None:
            whole |= smallest_of(search[1], x, start_wrong, self.threats[-1])
            if search[0].course is not None:
                whole["course"] = search[0].course.cpu().T.clone()
            kept = (search[1].success.cpu() & ~broken).nonzero().flatten()
            stored |= pictures_of(search[0], "adv.beyond", kept)
        if isinstance(self.threats[-1], Rotation) and rows.start == 0:
            stored |= landscape(self.model, x, y, self.threats[-1], self.batch)
        return {
            "index": self.pictures.place[rows].clone(),
            "label": self.pictures.labels[rows].clone(),
            "x": self.pictures.images[rows].clone(),
            **whole,
            **stored,
            **{name: torch.stack(tensors) for name, tensors in columns.items()},
        }

    @property
    def sought(self) -> bool:
        """Whether the smallest change of each picture is sought: one search then serves all radii.

        So it is where all attacks look for it and are our own, or one from elsewhere is alone.
        """
        alone = len(self.attacks) == 1 or not any(isinstance(attack, External) for attack in self.attacks)
        return alone and all(map(minimal, self.attacks))

    @property
    def views(self) -> Views | None:
        """How pictures vary under the first attack that averages over views, if any does."""
        return next((views for attack in self.attacks if (views := views_of(attack)) is not None), None)

    @property
    def taking_part(self) -> list[Attack | External]:
        """The attacks, those in reserve only if they are called."""
        return [attack for attack in self.attacks if self.called or not isinstance(attack, Reserve)]

    def _elsewhere(self, found: AttackResult) -> dict[str, Tensor]:
        """Passes of other models, in every shard if any attack may make some; 0 where it did not come to that."""
        if not any(isinstance(attack, External) and attack.elsewhere for attack in self.attacks):
            return {}
        spent = {name: getattr(found, name) for name in ELSEWHERE}
        return {name: torch.zeros_like(found.queries) if passes is None else passes for name, passes in spent.items()}

    def _looked_at(
        self, views: Views, x: Tensor, y: Tensor, x_adv: Tensor, verdict: Verdict, threat: AnyThreat, place: Tensor
    ) -> dict[str, Tensor]:
        """(n,) each: the share of random views of each success at which it is one, and at which its original is; NaN
        for what is no success."""
        rows = verdict.success.nonzero().flatten()
        columns = [torch.full((len(x),), torch.nan, dtype=torch.float64, device=x.device) for _ in range(2)]
        if len(rows):
            seen = looked_at(
                self.model,
                x[rows],
                x_adv[rows],
                Goal(y[rows]),
                views,
                threat,
                place=place[rows.cpu()],
                seed=self.seed,
                batch=self.batch,
            )
            columns[0][rows], columns[1][rows] = seen.after, seen.before
        return {"views": columns[0], "views_before": columns[1]}

    def _progress(self, number: int, searches: int, tell: Callable[[float], None]) -> Progress:
        """The engine's progress in one of several searches as a share of the whole shard."""
        return lambda done, total: tell((number + done / max(total, 1)) / searches)

    def _anywhere(self, x: Tensor) -> AnyThreat:
        """The threat with a radius that spans the box."""
        return self.threats[-1].with_eps(whole_box(self.threats[-1], tuple(x.shape[1:])))

    def _at(self, x: Tensor, y: Tensor, threat: AnyThreat, search: One) -> One:
        """What a search for the smallest change found within one radius; its passes go to the largest radius."""
        found, verdict, counted = search
        inside = verdict.inside_eps & (found.size <= threat.eps)
        none = torch.full_like(found.step, -1)
        within = replace(
            found,
            x_adv=torch.where(column(inside, x), found.x_adv, x),
            parameters=None if found.parameters is None else found.parameters * column(inside, found.parameters),
            success=found.success & inside,
            size=torch.where(inside, found.size, 0.0),
            step=torch.where(inside, found.step, none),
            lane=torch.where(inside, found.lane, none),
            attack=torch.where(inside, found.attack, none),
        )
        if threat is not self.threats[-1]:
            free = torch.zeros_like(none)
            within, counted = replace(within, queries=free, forward=free, backward=free), (0, 0)
        return within, self._verify(x, y, within, threat), counted

    def _one(self, x: Tensor, y: Tensor, threat: AnyThreat, place: Tensor, progress: Progress) -> One:
        """Let the attacks search within one threat, once for all.

        Where a stand-in sees a success, or a right picture, and the model does not, by a rounding, the picture is
        attacked again on the model itself.
        """
        found, counted = self._run(self.faster or self.model, x, y, threat, place, progress)
        verdict = self._verify(x, y, found, threat)
        doubtful = ((found.success & ~verdict.success) | ~verdict.untouched_when_start_wrong).nonzero().flatten()
        if self.faster is not None and len(doubtful):
            again, more = self._run(self.model, x[doubtful], y[doubtful], threat, place[doubtful.cpu()], None)
            found = overwrite(found, doubtful, again)
            counted = (counted[0] + more[0], counted[1] + more[1])
            verdict = self._verify(x, y, found, threat)
        # With a search on scores in the row pictures were attacked all the same; checks tell of dead gradients.
        levels = [attack.access for attack in self.taking_part]
        by_gradient = max(levels) >= Access.GRADIENT and Access.SCORES not in levels
        if not any(isinstance(attack, External) and attack.restores for attack in self.attacks):
            refuse_idle(verdict, float(threat.eps), by_gradient, None if counted[1] < 0 else counted[1])
        return found, verdict, counted

    def _run(
        self, model: Model, x: Tensor, y: Tensor, threat: AnyThreat, place: Tensor, progress: Progress | None
    ) -> tuple[AttackResult, tuple[int, int]]:
        own = [attack for attack in self.taking_part if isinstance(attack, Attack)]
        options: dict[str, Any] = {"seed": self.seed, "batch": self.batch, "picture": place, "progress": progress}
        with Meter(model) as meter:
            if self.sought and own:
                found = smallest(own, model, x, y, threat, **options)
            else:
                found = run_in_a_row(self.taking_part, model, x, y, threat, **options)
        return found, (meter.forward, meter.backward) if meter.counts else (-1, -1)

    def _verify(self, x: Tensor, y: Tensor, found: AttackResult, threat: AnyThreat) -> Verdict:
        return verify(
            self.model,
            x,
            found.x_adv,
            y,
            **measured(threat, found.parameters),
            batch=self.batch,
            refuse_nothing=False,
        )


def pictures_of(found: AttackResult, name: str, rows: Tensor) -> dict[str, Tensor]:
    """Some of the pictures that were found, with their rows, and with what they were rendered from if they were."""
    kept = {f"{name}.rows": rows, f"{name}.x": found.x_adv[rows.to(found.x_adv.device)].cpu()}
    if found.parameters is not None:
        kept[f"{name}.parameters"] = found.parameters[rows.to(found.parameters.device)].cpu()
    return kept


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


def smallest_of(verdict: Verdict, x: Tensor, start_wrong: Tensor, threat: AnyThreat) -> dict[str, Tensor]:
    """(n,) each: the verified size of each picture's change, infinite where none was found, 0 if wrong before; the same
    as a share of the picture's own size; and the class that the changed picture is taken for."""
    size = torch.where(verdict.success, verdict.size, torch.inf).cpu().masked_fill(start_wrong, 0.0)
    # What makes a picture of another has no measure of its own.
    own = torch.full_like(size, torch.nan) if isinstance(threat, Rendered) else threat.size(x.double()).cpu()
    return {
        "smallest": size,
        "smallest_relative": torch.where(size > 0, size / own, 0.0),
        "smallest_prediction": verdict.prediction_adv.cpu(),
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

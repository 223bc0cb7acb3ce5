"""Accuracy and calibration as pictures shift: corruptions, pictures of other origin, other shares of the classes."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from torch import Tensor

from holdfast import ranks
from holdfast.access.borrow import Model, home
from holdfast.corrupt import Corruption, Table, build, table_for
from holdfast.corrupt.stored import StoredSet, describe
from holdfast.data import Pictures
from holdfast.errors import DataError, OptionError, RunError
from holdfast.evaluate import edges, provenance
from holdfast.evaluate.baseline import FOLDER, errors_of, read_baseline
from holdfast.evaluate.label_shift import LabelShift, effective, importance
from holdfast.evaluate.result import Evaluation, Progress
from holdfast.evaluate.run_folder import RUN, SUMMARY, Memory, RunFolder, look_into
from holdfast.evaluate.shift_result import Figures, Relabelled, Shifted, Shifts, plain_attack, plain_errors
from holdfast.evaluate.shifted import (
    Condition,
    Source,
    ask,
    by_names,
    conditions,
    stored_corruptions,
    stored_name,
    told_of,
)
from holdfast.evaluate.statistics import Rate
from holdfast.evaluate.under_attack import UnderAttack, under_attack
from holdfast.files import alone
from holdfast.generators import seeded
from holdfast.options import to_plain
from holdfast.uncertainty import Answered, intervals_of
from holdfast.uncertainty.bins import BINS

FORMAT = 1
SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What was asked for, checked."""

    model: Model
    source: Source
    conditions: tuple[Condition, ...]
    label_shifts: tuple[LabelShift, ...]
    baseline: Mapping[str, Any] | None
    attack: Evaluation | None
    bins: int
    resamples: int
    batch: int
    seed: int
    run: dict[str, Any]


def shifts(
    model: Model,
    pictures: Pictures,
    corruptions: Sequence[Corruption | str] = (),
    severities: Sequence[int] = SEVERITIES,
    *,
    table: Table = "auto",
    stored: StoredSet | Path | str | None = None,
    natural: Sequence[Pictures] = (),
    label_shifts: Sequence[LabelShift] = (),
    baseline: Path | str | None = None,
    attack: Evaluation | None = None,
    bins: int = BINS,
    resamples: int = 1000,
    seed: int = 0,
    batch: int = 256,
    out: Path | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
    command: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
) -> Shifts:
    """Measure accuracy, ECE, NLL and Brier score on pictures as they are and as they shift.

    Args: `model` pictures (N, C, H, W) in [0, 1] to logits (N, K); `corruptions` records, or names with their usual
    options, each at all `severities`, from `table` as in `holdfast.corrupt.corrupted`, with noise keyed by `seed`;
    `stored` a folder that `holdfast corrupt` wrote of these pictures, evaluated instead (all of it, or the
    `corruptions` and `severities` named; its hashes are checked); `natural` other pictures in the same shape, whose
    classes are taken by name; `label_shifts` other shares of the classes, on the pictures as they are; `baseline`
    another run's folder, for the mCE; `attack` an evaluation of this model on these pictures, which gets its ECE at
    each radius; `bins` and `resamples` as in `holdfast.uncertainty.intervals`; `out` the run folder, None keeps
    everything in memory; `resume` goes on there; `name`, `card` and `command` (its words) go on record.

    Corrupted pictures are cut to bytes, as stored ones are: both give the same figures. Each corruption at each
    severity is written when done, so that a run that was killed goes on from there and ends with the same bytes.
    Raises: `OptionError`, `DataError`, `ModelError` for bad input, such as a baseline made on other pictures;
    `RunError` for a folder in use, or begun with other options, and in one of several processes.
    Cost: one forward pass a picture, corruption and severity; a few numbers a picture are kept of each.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261 (corruptions, mCE); Ovadia et al. 2019, arXiv:1906.02530
    (calibration under shift).
    """
    begun = perf_counter()
    if ranks.size() > 1:
        raise RunError(
            f"shifts: {ranks.size()} processes; allowed: one, which asks once a picture. Launch it without torchrun."
        )
    kept = describe(stored) if isinstance(stored, Path | str) else stored
    records = [build(one) if isinstance(one, str) else one for one in corruptions]
    others = _named(natural, pictures)
    asked = conditions(pictures, records, severities, kept, others, table)
    if batch < 1:
        raise OptionError(f"shifts: batch={batch!r}; allowed: whole numbers from 1 up. Usual is batch=256.")
    with seeded(seed, "answers", home(model, pictures.images)):
        answers = edges.check_model(model, pictures)
    source = Source(pictures, others, kept, seed, table_for(*pictures.shape[1:], table))
    run = {
        "format": FORMAT,
        "options": _options(records, asked, source, bins, resamples),
        "model": provenance.describe_model(model, name, card, answers),
        "data": provenance.describe_data(pictures),
        "provenance": provenance.provenance(model, pictures, seed, command),
        "choices": {"batch": batch},
    }
    wish = _Wish(
        model=model,
        source=source,
        conditions=tuple(asked),
        label_shifts=tuple(label_shifts),
        baseline=None if baseline is None else read_baseline(Path(baseline), run, asked),
        attack=attack,
        bins=bins,
        resamples=resamples,
        batch=batch,
        seed=seed,
        run=run,
    )
    path = None if out is None else Path(out)
    if path is not None:
        _check_free(path, attack)
    with nullcontext() if path is None else alone(path):
        store = _begin(path, run, resume)
        _ask_all(wish, store, progress)
        return _summed(wish, store, path, begun)


def _named(natural: Sequence[Pictures], pictures: Pictures) -> dict[str, Pictures]:
    found: dict[str, Pictures] = {}
    for one in natural:
        if one.name in found:
            raise OptionError(f"natural shift {one.name!r} is given twice; allowed: each once.")
        if one.shape != pictures.shape:
            raise DataError(
                f"{one.name}: pictures of shape {one.shape}, the data {pictures.shape}; allowed: the same. Bring them "
                "there by holdfast.data.adapted."
            )
        found[one.name] = by_names(one, pictures.classes)
    return found


def _options(
    records: Sequence[Corruption], asked: Sequence[Condition], source: Source, bins: int, resamples: int
) -> dict[str, Any]:
    """What decides the figures, as JSON has it."""
    names = dict.fromkeys(one.name for one in asked if one.kind == "corruption")
    stored, settings = source.stored, {} if source.stored is None else source.stored.settings
    own = {one.name: to_plain(one) for one in records} if stored is None else stored_corruptions(stored)
    files = {} if stored is None else stored.files
    return {
        "corruptions": {name: own.get(name, {}) for name in names},
        "severities": sorted({one.severity for one in asked if one.severity is not None}),
        "seed": settings.get("seed", source.seed),
        "table": settings.get("table", source.table),
        "stored": None if stored is None else {"folder": stored_name(stored), "files": files},
        "natural": [{**provenance.describe_data(one), "sha256": one.sha256()} for one in source.natural.values()],
        "bins": bins,
        "resamples": resamples,
    }


def _check_free(path: Path, attack: Evaluation | None) -> None:
    """Raise `RunError` where something else lies in the folder; an attack's run there must be the one given."""
    own = attack is not None and attack.run is not None and attack.run.resolve() == path.resolve()
    if own or not path.is_dir() or (path / FOLDER / RUN).is_file():
        return
    if any(not entry.name.startswith(".") for entry in path.iterdir()):
        raise RunError(f"{str(path)!r} is not empty; allowed: a new or empty folder. Choose another --out.")


def _begin(path: Path | None, run: dict[str, Any], resume: bool) -> Memory | RunFolder:
    if path is None:
        return Memory(run)
    look_into(path / FOLDER, resume)
    return RunFolder.begin(path / FOLDER, run)


def _ask_all(wish: _Wish, store: Memory | RunFolder, progress: Progress | None) -> None:
    """Ask about every condition that is not on record yet."""
    counts = [wish.source.count(one) for one in wish.conditions]
    for number, condition in enumerate(wish.conditions):
        before = sum(counts[:number])

        def tell(done: int, before: int = before, text: str = condition.text) -> None:
            if progress is not None:
                progress.update(before + done, sum(counts), text)

        tell(0)
        if not store.has(number):
            record = ask(wish.model, wish.source, condition, batch=wish.batch, seed=wish.seed, tell=tell)
            store.write_shard(number, record)
    if progress is not None:
        progress.update(sum(counts), sum(counts), "summing up")


def _summed(wish: _Wish, store: Memory | RunFolder, path: Path | None, begun: float) -> Shifts:
    """All figures, from what is on record."""
    rows: dict[str, list[Shifted]] = {"clean": [], "corruption": [], "natural": []}
    for number, one in enumerate(wish.conditions):
        rows[one.kind].append(Shifted(one.name, one.severity, _figures(told_of(store.record(number)), wish)))
    clean = rows["clean"][0].figures
    relabelled = [_relabelled(one, store.record(0), wish) for one in wish.label_shifts]
    errors = errors_of(rows["corruption"], clean, wish.baseline)
    attacked = _attacked(wish)
    base = wish.baseline
    plain = {
        **{key: store.run[key] for key in ("format", "model", "data", "options", "provenance")},
        "clean": clean.to_plain(),
        "corrupted": [one.to_plain() for one in rows["corruption"]],
        "natural": [one.to_plain() for one in rows["natural"]],
        "label_shifts": [one.to_plain() for one in relabelled],
        "errors": None if errors is None else plain_errors(errors),
        "baseline": None if base is None else {key: base[key] for key in ("folder", "sha256")},
        "attack": None if wish.attack is None else plain_attack(wish.attack, attacked),
    }
    store.write(SUMMARY, plain)
    corrupted, natural = tuple(rows["corruption"]), tuple(rows["natural"])
    seconds = perf_counter() - begun
    return Shifts(clean, corrupted, natural, tuple(relabelled), errors, attacked, seconds, path, plain)


def _figures(told: Answered, wish: _Wish) -> Figures:
    found = intervals_of(told, bins=wish.bins, resamples=wish.resamples, seed=wish.seed)
    return Figures(Rate(int(told.right.sum()), len(told)), found["ece"], found["nll"], found["brier"])


def _relabelled(shift: LabelShift, clean: Mapping[str, Tensor], wish: _Wish) -> Relabelled:
    labels = clean["label"]
    target = shift.target(labels, len(wish.source.pictures.classes), wish.seed)
    weight = importance(labels, target)
    found = intervals_of(told_of(clean), weight=weight, bins=wish.bins, resamples=wish.resamples, seed=wish.seed)
    measures = {name: found[name] for name in ("accuracy", "ece", "nll", "brier")}
    return Relabelled(shift.name, tuple(target.tolist()), effective(weight), **measures)


def _attacked(wish: _Wish) -> tuple[UnderAttack, ...]:
    if wish.attack is None:
        return ()
    return under_attack(wish.attack.records, bins=wish.bins, resamples=wish.resamples, seed=wish.seed)

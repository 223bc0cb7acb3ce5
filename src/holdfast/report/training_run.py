"""Read the folder of a training run: train.json, metrics.jsonl, timing.json, and card.json once it is finished."""

import json
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, RunError
from holdfast.files import read_object
from holdfast.options import parse
from holdfast.train import Epoch, TrainOptions
from holdfast.train.folder import ABOUT, CHECKPOINT, METRICS, TIMING
from holdfast.train.history import best_of, read_lines

FORMAT = 1
NEEDED = ("adversary", "augment", "data", "loss", "mixup", "model", "options", "penalties", "seed", "validation")


@dataclass(frozen=True)
class Start:
    """One start of the run: its first epoch, the seconds of each that it finished, and with how many threads."""

    epoch: int | None  # None where it is not on record
    seconds: tuple[float, ...]
    threads: int | None
    resumed: bool


@dataclass(frozen=True)
class TrainingRun:
    """A training run as the page needs it, finished or not."""

    folder: Path
    about: dict[str, Any]  # train.json
    options: TrainOptions
    history: tuple[Epoch, ...]  # of the epochs that are finished
    card: dict[str, Any] | None  # card.json; None while the run is not finished
    timing: dict[str, Any]  # timing.json; empty when the file is not there

    @property
    def kept(self) -> Epoch | None:
        """The epoch whose weights are kept: the best one watched so far, or the last."""
        return best_of(self.history, self.options.watch) if self.history else None

    @property
    def stopped_early(self) -> bool:
        """Whether it is finished before all its epochs."""
        return self.card is not None and len(self.history) < self.options.epochs

    @property
    def command(self) -> str:
        """The command line that made the run, or an empty string."""
        return shlex.join(map(str, (self.about.get("provenance") or {}).get("command") or []))

    @property
    def notes(self) -> list[str]:
        """What the training noted about itself."""
        notes = ((self.card or {}).get("training") or {}).get("notes") or []
        return [str(note) for note in ([notes] if isinstance(notes, str) else notes)]

    @property
    def starts(self) -> list[Start]:
        """Every start that finished an epoch."""
        return [_start(one) for one in self.timing.get("starts") or []]

    @property
    def resumed_in(self) -> list[int]:
        """The epochs that a later start began with, or went on with."""
        return [one.epoch for one in self.starts[1:] if one.epoch is not None]

    @property
    def seconds(self) -> list[float]:
        """Of every epoch that one start did whole: the first after a resumption may be only a part."""
        return [value for one in self.starts for value in one.seconds[int(one.resumed) :]]

    @property
    def seconds_an_epoch(self) -> float | None:
        """The median, of the epochs done whole."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def passes(self) -> tuple[float, float] | None:
        """Forward and backward passes a picture and epoch, on average over the epochs."""
        found = [epoch.passes for epoch in self.history if epoch.passes is not None]
        if not found:
            return None
        ahead, back = zip(*found)
        return math.fsum(ahead) / len(found), math.fsum(back) / len(found)

    def disagreements(self) -> list[str]:
        """Where the card tells of another training than the metrics."""
        told = (self.card or {}).get("training") or {}
        kept = json.loads(json.dumps(self.kept.plain())) if self.kept else {}
        pairs: list[tuple[str, Any, Any]] = [("epochs", told.get("epochs"), len(self.history))]
        pairs += [(name, value, kept.get(name)) for name, value in (told.get("scores") or {}).items()]
        said = pairs if self.card is not None and told else []
        return [f"{name}: card {card}, metrics {metrics}" for name, card, metrics in said if card != metrics]


def is_training(folder: Path) -> bool:
    """Whether `train` wrote the folder."""
    return (folder / ABOUT).is_file()


def all_trainings(folders: Sequence[Path]) -> bool:
    """Whether `train` wrote all the folders, or none. Raises: `RunError` for some of both."""
    trained = [folder for folder in folders if is_training(folder)]
    others = [folder for folder in folders if folder not in trained]
    if trained and others:
        raise RunError(
            f"{str(trained[0])!r} is a training run and {str(others[0])!r} is none; allowed: runs of one kind on a "
            "page. Make two reports; evaluate the trained model to set it beside an evaluation."
        )
    return bool(trained)


def read_training(folders: Sequence[Path]) -> list[TrainingRun]:
    """Read several training runs. Raises: `RunError` for the first that cannot be read."""
    return [read_one(folder) for folder in folders]


def read_one(folder: Path) -> TrainingRun:
    """Read one training run.

    Raises: `RunError` for a file that is missing or damaged, or of another format; each says how to mend it.
    """
    about = read_object(folder / ABOUT)
    options = _options(folder, about)
    history = read_lines(_text(folder / METRICS), str(folder / METRICS))
    timing = read_object(folder / TIMING) if (folder / TIMING).is_file() else {}
    finished = (folder / "card.json").is_file() and not (folder / CHECKPOINT).exists()
    card = read_object(folder / "card.json") if finished else None
    if finished and not history:
        raise RunError(f"{str(folder)!r} is finished, but {METRICS} tells of no epoch. Bring the file back.")
    run = TrainingRun(folder, about, options, history, card, timing)
    try:
        _ = run.seconds, run.resumed_in
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{str(folder / TIMING)!r} is damaged ({error!r}). Delete it: only times are lost.") from error
    return run


def _options(folder: Path, about: Mapping[str, Any]) -> TrainOptions:
    """The options of training. Raises: `RunError` where train.json is not what this version writes."""
    where, made = str(folder / ABOUT), about.get("format")
    if made != FORMAT:
        raise RunError(
            f"{where!r} has format {made!r}; this version reads format {FORMAT}. Make the report with the version that "
            "trained, which the file names, or train again."
        )
    lost = [name for name in NEEDED if name not in about]
    if lost:
        raise RunError(f"{where!r} lacks {', '.join(lost)}. Bring the file back, or train again.")
    try:
        return parse(TrainOptions, about["options"])
    except (HoldfastError, TypeError, AttributeError) as error:
        raise RunError(f"{where!r}: {error} Make the report with the version that trained.") from error


def _text(path: Path) -> str:
    """The text of a file; nothing where none is, as before the first epoch is over."""
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {str(path)!r}: {error}. Bring the file back, or train again.") from error


def _start(plain: Mapping[str, Any]) -> Start:
    epoch, threads = plain.get("epoch"), plain.get("threads")
    return Start(
        None if epoch is None else int(epoch),
        tuple(float(value) for value in plain["seconds"]),
        None if threads is None else int(threads),
        bool(plain.get("resumed")),
    )

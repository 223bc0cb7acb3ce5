"""The folder of a training run: what was asked for, what is known so far, where it stands, and the model at the end.

    train.json         options, seed, data, model, adversary, provenance: written once, at the start
    metrics.jsonl      one line an epoch
    checkpoint.pt      where it stands, after every epoch and every minute; gone when the run is finished
    timing.json        seconds: all that differs between two equal runs
    model.safetensors  and card.json: the trained model, written last
    last/              the same of the last epoch, where an earlier one was kept as the best

A kill at any moment leaves each file whole, and the run resumable.
"""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import RunError
from holdfast.files import dotted, dump_json, write_atomically
from holdfast.models import Card, load, save
from holdfast.options import to_plain
from holdfast.train.history import lines, read_lines
from holdfast.train.state import State

ABOUT, METRICS, CHECKPOINT, TIMING, LAST = "train.json", "metrics.jsonl", "checkpoint.pt", "timing.json", "last"
# Told, but not compared when a run is resumed: neither changes the weights.
ONLY_TOLD = ("provenance.python", "provenance.platform", "provenance.command")


@dataclass(frozen=True)
class Folder:
    """A run folder that belongs to this run: `begin` has made sure of it."""

    path: Path

    def keep(self, state: State) -> None:
        """Write the state; only then are its steps known to have happened."""
        buffer = io.BytesIO()
        torch.save(state.plain(), buffer)
        write_atomically(self.path / CHECKPOINT, buffer.getvalue())
        write_atomically(self.path / METRICS, lines(state.history))

    def restore(self, state: State) -> None:
        """Put the kept state back, if there is one: a run killed at once has none."""
        path = self.path / CHECKPOINT
        if not path.is_file():
            return
        try:
            state.restore(torch.load(path, map_location="cpu", weights_only=True))
        except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError) as error:
            raise RunError(
                f"{str(path)!r} is damaged ({type(error).__name__}). Delete it and run again with --resume: "
                "training begins anew with the same options."
            ) from error
        write_atomically(self.path / METRICS, lines(state.history))

    def finish(self, model: nn.Module, card: Card, last: Mapping[str, Tensor] | None = None) -> Card:
        """Write the trained model, and in a folder of their own the `last` weights where others were better; the
        checkpoint has done its service.
        """
        if last is not None:
            kept = {name: value.clone() for name, value in model.state_dict().items()}
            model.load_state_dict(dict(last))
            save(self.path / LAST, model, card)
            model.load_state_dict(kept)
        written = save(self.path, model, card)
        (self.path / CHECKPOINT).unlink(missing_ok=True)
        return written

    def starts(self) -> list[dict[str, Any]]:
        """What timing.json knows of earlier starts."""
        try:
            return list(json.loads((self.path / TIMING).read_bytes())["starts"])
        except (OSError, ValueError, KeyError, TypeError):  # times are told, and nothing depends on them
            return []

    def time(self, earlier: Sequence[Mapping[str, Any]], seconds: Sequence[float], *, resumed: bool, last: int) -> None:
        """Write timing.json: the earlier starts and the seconds of each epoch of this one, which ends with `last`."""
        start = {
            "resumed": resumed,
            "epoch": last - len(seconds) + 1,
            "seconds": [round(s, 3) for s in seconds],
            "threads": torch.get_num_threads(),
        }
        starts = [*earlier, start]
        total = sum(sum(one["seconds"]) for one in starts)
        write_atomically(self.path / TIMING, dump_json({"format": 1, "seconds": round(total, 3), "starts": starts}))

    def finished(self) -> dict[str, Any] | None:
        """Weights, card and history of a run that was finished before, the last two as JSON has them, else None."""
        if (self.path / CHECKPOINT).exists() or not (self.path / "card.json").is_file():
            return None
        model, card = load(self.path)
        history = read_lines((self.path / METRICS).read_text(), str(self.path / METRICS))
        return {
            "weights": model.state_dict(),
            "card": to_plain(card),
            "history": [epoch.plain() for epoch in history],
        }


def begin(path: Path | str, about: Mapping[str, Any], *, resume: bool) -> Folder:
    """A folder for the run described by `about`: a new one, or with `resume` the one of the same description.

    With `resume` and nothing there the run begins anew, so that one command serves for the first and later starts.
    Raises: `RunError` when something else lies there, or the options differ from those the run was begun with.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RunError(f"{str(path)!r} is a file; allowed: a folder for the run. Name another --out.")
    known = path / ABOUT
    there = path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir())
    if there and not resume:
        mend = "Pass --resume to go on with it, or name another --out." if known.is_file() else "Name another --out."
        raise RunError(f"{str(path)!r} is not empty; allowed: a new folder for the run. {mend}")
    if there:
        _compare(known, about)
    else:
        write_atomically(known, dump_json(dict(about)))
    return Folder(path)


def _compare(known: Path, about: Mapping[str, Any]) -> None:
    try:
        before = dotted(json.loads(known.read_bytes()))
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(
            f"{str(known.parent)!r} holds no training run that can be resumed ({type(error).__name__} at {ABOUT}). "
            "Name the run's folder, or begin in a new one without --resume."
        ) from error
    now = dotted(json.loads(dump_json(dict(about))))
    names = [n for n in [*before, *(n for n in now if n not in before)] if not n.startswith(ONLY_TOLD)]
    changed = [f"{n} was {before.get(n)!r}, now {now.get(n)!r}" for n in names if before.get(n) != now.get(n)]
    if changed:
        raise RunError(
            f"{str(known.parent)!r} was begun with other options: {'; '.join(changed)}. "
            "Resume with the same ones, or begin a new run with another --out."
        )

"""The door to reproductions: `reproduce` runs one and writes its table."""

import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from holdfast.errors import OptionError, RunError
from holdfast.files import alone, dump_json, read_object, write_atomically
from holdfast.options import to_plain
from holdfast.reproduce.bench import Bench, Progress, no_note, no_progress
from holdfast.reproduce.part import Part, differences
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Table

ASKED, RESULT, PAGE = "reproduce.json", "result.json", "report.html"


@dataclass(frozen=True)
class Reproduced:
    """A finished reproduction."""

    of: Reproduction[Any]
    preset: str
    settings: dict[str, Any]
    table: Table
    seconds: float  # of this call
    parts: tuple[Part, ...]
    conditions: dict[str, Any]  # versions, device, threads, seeds, command
    folder: Path

    def to_plain(self) -> dict[str, Any]:
        """result.json: what `--json` prints. Rates are fractions, never percent."""
        columns = [{"name": c.name, "unit": c.unit, "about": c.about} for c in self.table.columns]
        return {
            "format": 1,
            "name": self.of.name,
            "title": self.of.title,
            "source": self.of.source,
            "preset": self.preset,
            "notice": self.of.notice(self.preset),
            "settings": self.settings,
            "columns": columns,
            "rows": [row.to_plain() for row in self.table.rows],
            "orderings": [ordering.to_plain() for ordering in self.table.orderings],
            "notes": list(self.table.notes),
            "seconds": self.seconds,
            "seconds_of_parts": sum(part.seconds for part in self.parts),
            "kept_parts": [part.place for part in self.parts if part.kept],
            "conditions": self.conditions,
            "run": str(self.folder),
        }


def reproduce(
    reproduction: Reproduction[Any],
    *,
    out: Path | str,
    preset: str = "small",
    seeds: Sequence[int] | None = None,
    data_dir: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    command: Sequence[str] = (),
    progress: Progress = no_progress,
    note: Callable[[str], None] = no_note,
) -> Reproduced:
    """Do what a source did, and set its figures beside ours.

    Args: `reproduction` one of `REPRODUCTIONS`, or one's own; `out` a new folder, or with `resume` one where the same
    reproduction and preset was begun: parts that are finished and asked for the same are kept, seeds may be added;
    `seeds` each makes the whole anew, the table has their mean and each of them, by default the reproduction's own;
    `device` "cpu" or "cuda"; `command` (its words) goes on record. Writes into `out`: parts/, result.json, report.html.
    Raises: `OptionError` for an unknown preset or a seed twice; `RunError` for a folder in use or begun otherwise;
    and whatever the work raises.
    Cost: see the presets; all of it again for each seed.
    """
    from holdfast.reproduce.page import page

    chosen, settings = reproduction.settings(preset)
    seeds = reproduction.seeds if seeds is None else seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise OptionError(f"seeds {list(seeds)}; allowed: at least one, each once, such as 0,1,2.")
    folder, begun = Path(out), perf_counter()
    device = "cpu" if reproduction.on_cpu else device
    asked = _asked(reproduction, chosen, settings, device)
    with _folder_of(folder, asked, resume):
        shared = {key: value for key, value in asked.items() if key != "settings"}
        bench = Bench(
            out=folder,
            seeds=tuple(seeds),
            asked={"reproduction": shared},
            data_dir=data_dir,
            device=device,
            resume=resume,
            command=tuple(command),
            progress=progress,
            note=note,
        )
        table = reproduction.measure(bench, settings)
        _check_read(table, bench)
        conditions = _conditions(asked, seeds, command)
        done = Reproduced(
            reproduction,
            chosen,
            asked["settings"],
            table,
            perf_counter() - begun,
            tuple(bench.parts),
            conditions,
            folder,
        )
        write_atomically(folder / PAGE, page(done).encode())
        write_atomically(folder / RESULT, dump_json(done.to_plain()))
    return done


def _asked(reproduction: Reproduction[Any], preset: str, settings: Any, device: str) -> dict[str, Any]:
    """reproduce.json: what a resumed call must share."""
    import torch

    return {
        "format": 1,
        "name": reproduction.name,
        "preset": preset,
        "settings": to_plain(settings),
        "holdfast": str(import_module("holdfast").__version__),  # by name: its front door imports rooms above
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
    }


def _folder_of(folder: Path, asked: dict[str, Any], resume: bool) -> AbstractContextManager[None]:
    """`folder` for this reproduction alone. Raises: `RunError` for one in use, or begun for anything else."""
    known = folder / ASKED
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{str(folder)!r} is a file; allowed: a folder for the reproduction. Name another --out.")
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        if not (resume and known.is_file()):
            mend = (
                "Pass --resume to go on with it, or name another --out." if known.is_file() else "Name another --out."
            )
            raise RunError(f"{str(folder)!r} is not empty; allowed: a new folder for the reproduction. {mend}")
        before = read_object(known)
        if before != asked:
            raise RunError(
                f"{str(folder)!r} was begun with other settings: {differences(before, asked)}. "
                "Resume with the same ones, or begin anew with another --out."
            )
    else:
        write_atomically(known, dump_json(asked))
    return alone(folder)


def _check_read(table: Table, bench: Bench) -> None:
    """Every number of ours comes from a run folder that this call wrote or found finished."""
    known = {part.place for part in bench.parts}
    for row in table.rows:
        if not set(row.parts) <= known or (row.ours and not row.parts):
            raise RunError(f"row {row.name!r}: its numbers are not from this call's parts. Make it by `row`.")


def _conditions(asked: dict[str, Any], seeds: Sequence[int], command: Sequence[str]) -> dict[str, Any]:
    import torch

    return {
        "holdfast": asked["holdfast"],
        "torch": asked["torch"],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": asked["device"],
        "threads": torch.get_num_threads(),
        "seeds": list(seeds),
        "command": list(command),
    }

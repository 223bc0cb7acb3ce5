"""Read a finished run folder: `summary.json`, `run.json`, `timing.json` and the records in `shards/`.

Only the documented files are read, nothing of the code that wrote them, so a folder can be reported elsewhere.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import RunError
from holdfast.files import read_object
from holdfast.report.records import Records, read_records

FORMAT = 1
NEEDED = ("attack", "believe", "clean", "curve", "data", "model", "robust", "threat")
VERDICTS = ("fail", "warn", "pass", "skipped")
RATE = ("k", "n", "rate", "low", "high")


@dataclass(frozen=True)
class Run:
    """A finished run as the page needs it."""

    folder: Path
    summary: dict[str, Any]  # every figure, as documented for summary.json
    origin: dict[str, Any]  # run.json: options, provenance, choices
    timing: dict[str, Any]  # timing.json; empty when the file is not there
    records: Records | None  # None when the shards were taken away to save space

    @property
    def command(self) -> str:
        """The command line that made the run, or an empty string."""
        command = self.origin.get("provenance", {}).get("command", "")
        return command if isinstance(command, str) else shlex.join(map(str, command))


def read_all(folders: Sequence[Path]) -> list[Run]:
    """Read several runs; raises `RunError` for the first that is not finished, and when there is none."""
    if not folders:
        raise RunError("no run was given; name at least one run folder, as in `holdfast report RUN`.")
    return [read(folder) for folder in folders]


def read(folder: Path) -> Run:
    """Read one run folder.

    Raises: `RunError` for a missing folder, a file, a folder that is not a run, an unfinished run, a run of
    another format and a file that cannot be read; each says how to mend it.
    """
    _look(folder)
    origin = read_object(folder / "run.json")
    if not (folder / "summary.json").is_file():
        raise RunError(_unfinished(folder, origin))
    summary = read_object(folder / "summary.json")
    _check(folder, summary)
    timing = read_object(folder / "timing.json") if (folder / "timing.json").is_file() else {}
    eps = len(summary["curve"])
    return Run(folder, summary, origin, timing, read_records(folder / "shards", eps))


def _look(folder: Path) -> None:
    """Say what is wrong with a path that is not a run folder."""
    given = str(folder)
    if folder.is_file():
        raise RunError(f"{given!r} is a file; a run folder is needed, the one given to `holdfast evaluate --out`.")
    if not folder.is_dir():
        raise RunError(f"{given!r} does not exist; make a run with `holdfast evaluate ... --out {given}`.")
    if not (folder / "run.json").is_file():
        inside = sorted(path.parent.name for name in ("run", "train") for path in folder.glob(f"*/{name}.json"))
        near = f" Inside it are runs: {', '.join(str(folder / name) for name in inside[:5])}." if inside else ""
        raise RunError(
            f"{given!r} is not a run folder: it has no run.json and no train.json.{near} "
            "`holdfast evaluate` makes one, and so does `holdfast train`."
        )


def _unfinished(folder: Path, origin: dict[str, Any]) -> str:
    """The error text for a run without a summary, with the command that finishes it where it is known."""
    given, out = str(folder), shlex.quote(str(folder))
    part = origin.get("options", {}).get("shard")
    if part:
        number = "/".join(map(str, part))
        return (
            f"{given!r} is part {number} of a run; a report needs the whole: `holdfast merge PART PART ... --out RUN`."
        )
    command = Run(folder, {}, origin, {}, None).command or "holdfast evaluate ..."
    return f"{given!r} is not finished: it has no summary.json. Finish it with: {command} --out {out} --resume"


def _check(folder: Path, summary: dict[str, Any]) -> None:
    """Refuse a summary that another version wrote or that lacks what the page is made of."""
    made = summary.get("format")
    if made != FORMAT:
        raise RunError(
            f"{str(folder)!r} has format {made!r}; this version reads format {FORMAT}. "
            "Make the report with the version that made the run (see run.json), or evaluate again."
        )
    lost = [key for key in NEEDED if not summary.get(key)]
    verdicts = [check.get("verdict") for check in summary.get("checks") or []]
    lost += [f"a known verdict for {verdict!r}" for verdict in verdicts if verdict not in VERDICTS]
    if not lost:
        rates = [summary["clean"], summary["robust"], *(point.get("robust", {}) for point in summary["curve"])]
        lost = sorted({key for rate in rates for key in RATE if key not in rate})
    if lost:
        raise RunError(
            f"{str(folder / 'summary.json')!r} lacks {', '.join(lost)}. "
            "Delete it and run `holdfast evaluate ... --resume`: it is made again from the shards."
        )

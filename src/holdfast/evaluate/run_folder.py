"""The run folder: what is where, written so that a kill at any moment loses at most the shard in flight."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from holdfast.errors import RunError
from holdfast.evaluate import shards
from holdfast.evaluate.provenance import FORMAT, Run, differences
from holdfast.evaluate.shards import Shard
from holdfast.files import dump_json, read_object, write_atomically

log = logging.getLogger("holdfast")

RUN, CHECKS, SUMMARY, RECORDS, TIMING, SHARDS = (
    "run.json",
    "checks.json",
    "summary.json",
    "records.csv",
    "timing.json",
    "shards",
)


class Memory:
    """Keeps a run that is not written anywhere: the same methods as `RunFolder`, the pictures dropped."""

    path: Path | None = None

    def __init__(self, run: Run) -> None:
        self.run = run
        self._shards: dict[int, dict[str, Tensor]] = {}
        self._files: dict[str, dict[str, Any]] = {}

    def has(self, number: int) -> bool:
        """Whether the shard is done."""
        return number in self._shards

    def write_shard(self, number: int, shard: Shard) -> None:
        """Keep the shard's records."""
        self._shards[number] = shards.without_pixels(shard)

    def records(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The records of these shards as one."""
        return shards.join([self._shards[number] for number in numbers])

    def record(self, number: int) -> dict[str, Tensor]:
        """The records of one shard."""
        return self._shards[number]

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file's content."""
        return self._files.get(name)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Keep a JSON file's content."""
        self._files[name] = content


class RunFolder:
    """A run on disk. `begin` starts or resumes one; every file is written whole or not at all.

    Raises: `RunError` wherever the folder cannot be read or written; what was written before stays.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self.run = run

    @classmethod
    def begin(cls, path: Path, run: Run) -> "RunFolder":
        """Write run.json, or compare it with the one that is there.

        Raises: `RunError` that shows every option that was changed since the run began.
        """
        recorded = read_json(path / RUN)
        if recorded is None:
            write_atomically(path / RUN, dump_json(run))
            return cls(path, run)
        changed = differences(recorded, run)
        if changed:
            raise RunError(
                f"cannot resume {str(path)!r} with other options: {'; '.join(changed)}; allowed: those it began with. "
                "Give them again, or choose another --out for the new ones."
            )
        for name in ("python", "platform", "threads"):
            was, now = recorded["provenance"].get(name), run["provenance"][name]
            if was != now:
                log.warning("%s: begun with %s %s, resumed with %s", path, name, was, now)
        _sweep(path)
        return cls(path, recorded)

    @classmethod
    def join(cls, path: Path, run: Run) -> "RunFolder":
        """The folder of a run that another process has begun. Raises: `RunError` where it is not seen from here."""
        if not path.is_dir() or read_json(path / RUN) != run:
            raise RunError(
                f"the run that the first process began in {str(path)!r} is not seen from this machine; allowed: a "
                "folder that all machines share. Choose such an --out, or do a part on each by --shard, and merge."
            )
        return cls(path, run)

    def shard_path(self, number: int) -> Path:
        """Where a shard lies."""
        return self.path / SHARDS / f"{number:05d}.safetensors"

    def has(self, number: int) -> bool:
        """Whether the shard is there and whole; a damaged one is told and will be made again."""
        path = self.shard_path(number)
        if path.exists() and not shards.intact(path, number):
            log.warning("%s is damaged: its pictures are attacked again", path)
            return False
        return path.exists()

    def write_shard(self, number: int, shard: Shard) -> None:
        """Write a finished shard."""
        write_atomically(self.shard_path(number), shards.encode(shard, number))

    def records(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The records of these shards as one, pictures left on the disk."""
        return shards.join([shards.read_records(self.shard_path(number)) for number in numbers])

    def record(self, number: int) -> dict[str, Tensor]:
        """The records of one shard, pictures left on the disk."""
        return shards.read_records(self.shard_path(number))

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder, or None."""
        return read_json(self.path / name)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the folder."""
        write_atomically(self.path / name, dump_json(content))


Store = Memory | RunFolder


def look_into(path: Path, resume: bool) -> Run | None:
    """The run.json of a run to be resumed, or None where a new one may begin.

    Raises: `RunError` for a file, for a folder in use without `resume`, and for one that holds something else.
    """
    if path.exists() and not path.is_dir():
        raise RunError(f"{str(path)!r} is a file; a folder is needed for the run. Choose another --out.")
    recorded = read_json(path / RUN)
    if recorded is not None and not resume:
        raise RunError(
            f"{str(path)!r} already holds a run; allowed: a new or empty folder. "
            "Choose another --out, or go on with this one by --resume (in Python: resume=True)."
        )
    if recorded is None and _in_use(path):
        raise RunError(
            f"{str(path)!r} is not empty and holds no run; allowed: a new or empty folder. Choose another --out."
        )
    if recorded is not None and recorded.get("format") != FORMAT:
        raise RunError(
            f"{str(path)!r} has format {recorded.get('format')!r}; this version goes on with format {FORMAT}. "
            "Choose another --out, or resume with the version that made it."
        )
    return recorded


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no file. Raises: `RunError` when it is no JSON object."""
    try:
        there = path.is_file()
    except OSError as error:
        raise RunError(f"cannot read {str(path)!r}: {error}. Bring the file back, or choose another --out.") from error
    return read_object(path) if there else None


def _in_use(path: Path) -> bool:
    return path.is_dir() and any(not _left_over(entry) for entry in path.iterdir())


def _left_over(path: Path) -> bool:
    """The part of a file that a kill left behind."""
    return path.name.startswith(".") and path.name.endswith(".part")


def _sweep(path: Path) -> None:
    for folder in (path, path / SHARDS):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if _left_over(entry):
                with contextlib.suppress(OSError):
                    entry.unlink()

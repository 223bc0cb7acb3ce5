"""One piece of work of a reproduction: a run folder that says what was asked for and holds what came of it.

begun.json   what was asked for, and its hash: written before the work begins
...          whatever the work leaves, such as a training run
part.json    the same, and what was found: written last, so that it is there only for finished work
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from holdfast.errors import OptionError, RunError
from holdfast.files import dotted, dump_json, read_object, sha256, write_atomically

BEGUN, FINISHED = "begun.json", "part.json"

Work = Callable[[Path], Mapping[str, Any]]
"""Called with the part's folder; returns what was found: numbers, and whatever plots need, as JSON can hold it."""


@dataclass(frozen=True)
class Part:
    """A finished part. `found` was read back from its folder."""

    name: str
    seed: int
    place: str  # its folder, within the reproduction's
    found: Mapping[str, Any]
    seconds: float  # that the work took, in whichever call it was done
    mark: str  # hash of what was asked for
    kept: bool  # whether an earlier call had done it


def slug(name: str) -> str:
    """A name for people as a part of a folder's: small letters, digits and points, the rest as hyphens."""
    plain = name.replace("'", "")
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in plain).split()).lower()


def mean_over(parts: Sequence[Part], key: str) -> float:
    """The mean of a number over parts, one a seed."""
    return fmean(float(part.found[key]) for part in parts)


def finished(out: Path, place: str, asked: Mapping[str, Any], work: Work, *, resume: bool) -> Part:
    """The part at `place` within `out`: done now, or with `resume` kept if an earlier call did the same.

    Args: `asked` everything that decides the outcome, with `name` and `seed`; as JSON can hold it.
    Raises: `RunError` where something lies there that was asked for otherwise, or, without `resume`, anything; when
    a file there is damaged; and whatever the work raises, after which no outcome is on record.
    """
    folder = out / place
    asked = _as_read(asked, place)
    mark = sha256(dump_json(asked))
    kept = _begin(folder, asked, mark, resume)
    if not kept:
        begun = perf_counter()
        found = work(folder)
        plain = {"format": 1, "asked": asked, "mark": mark, "found": found, "seconds": perf_counter() - begun}
        _write(folder, plain, place)
    done = read_object(folder / FINISHED)
    if done.get("mark") != mark or not isinstance(done.get("found"), Mapping):
        raise RunError(f"{str(folder / FINISHED)!r} is damaged. Delete that folder, and run again with --resume.")
    seed, seconds = int(asked["seed"]), float(done["seconds"])
    return Part(str(asked["name"]), seed, place, done["found"], seconds, mark, kept)


def _as_read(asked: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What was asked for as it reads back from a file, so that it can be compared."""
    import json

    try:
        return dict(json.loads(dump_json(dict(asked))))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{place}: its settings cannot be written as JSON: {error}. Pass `to_plain` of them."
        ) from None


def _begin(folder: Path, asked: dict[str, Any], mark: str, resume: bool) -> bool:
    """Whether the work is done already. A part that was begun and not finished is begun again in its folder."""
    there = folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())
    if not there:
        write_atomically(folder / BEGUN, dump_json({"format": 1, "asked": asked, "mark": mark}))
        return False
    if not resume:
        raise RunError(
            f"{str(folder)!r} is not empty; allowed: a new folder. Pass --resume to go on, or name another --out."
        )
    before = read_object(folder / BEGUN)
    if before.get("mark") != mark:
        raise RunError(
            f"{str(folder)!r} was begun with other settings: {differences(before.get('asked'), asked)}. "
            "Resume with the same ones, or begin anew with another --out."
        )
    return (folder / FINISHED).is_file()


def differences(before: Any, now: Mapping[str, Any]) -> str:
    """What two records of settings do not share, in words."""
    was, is_ = dotted(before if isinstance(before, Mapping) else {}), dotted(now)
    names = sorted(name for name in {**was, **is_} if was.get(name) != is_.get(name))
    return "; ".join(f"{name} was {was.get(name)!r}, now {is_.get(name)!r}" for name in names) or "not on record"


def _write(folder: Path, plain: Mapping[str, Any], place: str) -> None:
    try:
        content = dump_json(plain)
    except (TypeError, ValueError) as error:  # NaN, a tensor
        raise RunError(f"{place}: what was found cannot be written as JSON: {error}. No number may be NaN.") from error
    write_atomically(folder / FINISHED, content)

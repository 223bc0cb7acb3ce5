"""Where a published set lies on this machine, and what is there at all."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.data.published import PublishedSet
from holdfast.data.sets import SETS
from holdfast.data.splits import SPLITS, VALIDATION_EVERY, part_of
from holdfast.errors import DataError, unknown

VARIABLE = "HOLDFAST_DATA"


@dataclass(frozen=True)
class SetStatus:
    """What is known about one published set without reading it."""

    name: str
    title: str
    path: Path | None  # where its pictures were found
    splits: Mapping[str, int]  # pictures in each split that is there
    how: str  # to get it, in one sentence


def find(name: str, data_dir: str | os.PathLike[str] | None = None, split: str = "test") -> Path | None:
    """Where a split of a published set was found, or None. Looks at names, not into files.

    Looked through in this order: `data_dir`, the folder that HOLDFAST_DATA names, the cache of fetched files.
    Raises: `OptionError` for an unknown set or split; `DataError` when `data_dir` is not a folder.
    """
    if name not in SETS:
        raise unknown("data set", name, SETS)
    known, part = SETS[name], part_of(split)
    return known.locate(None, part) or locate(known, part, roots(data_dir))


def locate(known: PublishedSet, part: str, folders: list[Path]) -> Path | None:
    """The part of a set in the first of the data folders that has it, or None."""
    found = (known.locate(folder, part) for folder in folders)
    return next((path for path in found if path is not None), None)


def roots(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The data folders to look through, first choice first. Raises: `DataError` when one that was named is none."""
    named = {"--data-dir": data_dir, VARIABLE: os.environ.get(VARIABLE)}
    folders = []
    for source, given in named.items():
        if given:
            folder = Path(given).expanduser()
            if not folder.is_dir():
                what = "is a file" if folder.exists() else "does not exist"
                raise DataError(f"{source} {str(folder)!r} {what}; allowed: a folder. Make it, or name another one.")
            folders.append(folder)
    return [*folders, cache_folder()]


def cache_folder() -> Path:
    """Where fetched files go when nobody names a folder: the operating system's cache."""
    import pooch

    return Path(pooch.os_cache("holdfast"))


def status(data_dir: str | os.PathLike[str] | None = None) -> list[SetStatus]:
    """One record a published set: is it here, how many pictures a split, how to get it. Reads no pictures.

    Raises: `DataError` when `data_dir` or HOLDFAST_DATA is not a folder.
    """
    folders = roots(data_dir)
    return [_status(known, folders) for known in SETS.values()]


def _status(known: PublishedSet, folders: list[Path]) -> SetStatus:
    found = {s: known.locate(None, part_of(s)) or locate(known, part_of(s), folders) for s in SPLITS}
    splits = {split: _count(known, split) for split, path in found.items() if path}
    path = next(filter(None, found.values()), None)
    return SetStatus(known.name, known.title, path, splits, _how(known))


def _how(known: PublishedSet) -> str:
    files = dict.fromkeys(download.file for part in known.counts for download in known.downloads(part))
    if not files:
        return "comes with scikit-learn"
    return f"fetched when first used, or put {', '.join(files)} into {known.home}/ under the data folder"


def _count(known: PublishedSet, split: str) -> int:
    whole = known.counts[part_of(split)]
    validation = -(-whole // VALIDATION_EVERY)
    counts = {"test": whole, "validation": validation, "train": whole - validation}
    return counts[split]

"""Corrupted pictures on disk, so that others evaluate the same bits: written once, checked by hash when read.

A folder holds an array of bytes for each corruption and severity, `fog-3.npy` (N, H, W, C), the pictures' labels and
places, and `corrupted.json`: settings, versions, and the SHA-256 of every file.
"""

import io
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.corrupt.corruption import Corruption, Table, applied, check_severity, table_for
from holdfast.corrupt.fields import cut
from holdfast.data import Pictures
from holdfast.errors import DataError, OptionError, RunError, unknown
from holdfast.files import alone, dotted, dump_json, read_object, sha256_of_file, write_atomically
from holdfast.options import to_plain

__all__ = ["StoredSet", "describe", "read", "write"]

ABOUT, LABELS, PLACES = "corrupted.json", "labels.npy", "place.npy"
FORMAT = 1
SAME = ("format", "data", "seed", "table", "device", "versions")  # what all files of a folder share

Progress = Callable[[int, int, str], None]
"""Pictures done, of how many, and what is being done."""


@dataclass(frozen=True)
class StoredSet:
    """What a folder of corrupted pictures says of itself."""

    folder: Path
    settings: Mapping[str, Any]  # all of corrupted.json

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file."""
        return dict(self.settings["files"])

    @property
    def pairs(self) -> tuple[tuple[str, int], ...]:
        """Corruptions and severities that are there."""
        arrays = (name.removesuffix(".npy") for name in self.files if name not in (LABELS, PLACES))
        return tuple((name, int(severity)) for name, _, severity in (array.rpartition("-") for array in arrays))


def write(
    pictures: Pictures,
    folder: Path | str,
    corruptions: Sequence[Corruption],
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    seed: int = 0,
    table: Table = "auto",
    batch: int = 256,
    device: torch.device | str = "cpu",
    resume: bool = False,
    progress: Progress | None = None,
) -> StoredSet:
    """Write pictures as every corruption leaves them at every severity, one file each, whole or not at all.

    Values are cut to the 8-bit level below, as the published sets are. With `resume`, files that are there and whole
    are kept, and others are added: of the same pictures, seed, table and versions.
    Raises: `OptionError` for severities outside 1 to 5, no corruption, one named twice, or one that the pictures
    cannot have; `RunError` when something else lies in the folder, or it was made by other settings.
    Cost: no model call; memory for a batch.
    """
    folder = Path(folder)
    _check(pictures, corruptions, severities, batch, table)
    about = _about(pictures, seed, table, torch.device(device))
    wanted = [(corruption, severity) for corruption in corruptions for severity in severities]
    with alone(folder):
        options, files = _begun(folder, about, corruptions, resume=resume)

        def keep(name: str, content: Iterable[bytes]) -> None:
            """A generator that is not asked does no work: files that are there cost nothing."""
            if name not in files:
                write_atomically(folder / name, content)
                files[name] = sha256_of_file(folder / name)
            whole = {**about, "corruptions": options, "files": files}
            write_atomically(folder / ABOUT, dump_json(whole))

        keep(LABELS, _array(pictures.labels.shape, "<i8", [pictures.labels]))
        keep(PLACES, _array(pictures.place.shape, "<i8", [pictures.place]))
        for number, (corruption, severity) in enumerate(wanted):
            name = f"{corruption.name}-{severity}"
            bar = _Bar(progress, number * len(pictures), len(wanted) * len(pictures), name)
            parts = _parts(pictures, partial(_corrupted, corruption, severity, about), batch, torch.device(device), bar)
            keep(f"{name}.npy", _array(_colours_last(pictures), "|u1", parts))
            bar.at(len(pictures))
    return describe(folder)


def describe(folder: Path | str) -> StoredSet:
    """What is stored in a folder. Raises: `DataError` where nothing is; no array is looked at."""
    folder = Path(folder)
    if not (folder / ABOUT).is_file():
        raise DataError(
            f"{str(folder)!r} holds no corrupted pictures, since it has no {ABOUT}; allowed: a folder that `holdfast "
            "corrupt --out` wrote."
        )
    try:
        settings = read_object(folder / ABOUT)
    except RunError as error:
        raise DataError(
            f"{str(folder)!r} cannot be read: {error} `holdfast corrupt --out` makes such a folder."
        ) from error
    if settings.get("format") != FORMAT:
        raise DataError(
            f"{str(folder)!r}: format {settings.get('format')!r} of {ABOUT}; allowed: {FORMAT}. Read it with the "
            "version of holdfast that wrote it."
        )
    return StoredSet(folder, settings)


def read(folder: Path | str, corruption: str, severity: int) -> Pictures:
    """Stored pictures with their labels and places, after their hashes were checked.

    Raises: `DataError` for a folder without them, a file that is missing or whose hash is another; `OptionError` for a
    corruption or severity that is not stored.
    """
    stored = describe(folder)
    check_severity(severity)
    if (corruption, severity) not in stored.pairs:
        raise unknown(
            "stored corruption", f"{corruption}-{severity}", (f"{one}-{level}" for one, level in stored.pairs)
        )
    name = f"{corruption}-{severity}.npy"
    images, labels, place = (_checked(stored, each) for each in (name, LABELS, PLACES))
    about = stored.settings["data"]
    return Pictures(
        f"{about['name']}, {corruption} {severity}",
        about["split"],
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(labels),
        tuple(about["classes"]),
        torch.from_numpy(place),
    )


def _check(
    pictures: Pictures, corruptions: Sequence[Corruption], severities: Sequence[int], batch: int, table: Table
) -> None:
    for severity in severities:
        check_severity(severity)
    names = [corruption.name for corruption in corruptions]
    for what, given in (("corruptions", names), ("severities", list(severities))):
        if not given or len(set(given)) < len(given):
            raise OptionError(f"{what}={given}; allowed: one or more, each once. Name each once.")
    if batch < 1:
        raise OptionError(f"batch={batch!r}; allowed: whole numbers from 1 up. Usual is batch=256.")
    # One picture is tried first, so that what cannot be done is told before anything is written.
    first = pictures.take(slice(0, 1))
    for corruption in corruptions:
        for severity in severities:
            applied(corruption, first.x(), severity, seed=0, place=first.place, table=table)


def _about(pictures: Pictures, seed: int, table: Table, device: torch.device) -> dict[str, Any]:
    """What all files share, as JSON has it."""
    return {
        "format": FORMAT,
        "data": {
            "name": pictures.name,
            "split": pictures.split,
            "n": len(pictures),
            "shape": list(pictures.shape),
            "classes": list(pictures.classes),
            "sha256": pictures.sha256(),
        },
        "seed": seed,
        "table": table_for(pictures.shape[1], pictures.shape[2], table),
        "device": device.type,
        "versions": {
            "holdfast": str(import_module("holdfast").__version__),
            "torch": torch.__version__,
            "pillow": metadata.version("pillow"),
            "python": platform.python_version(),
        },
    }


def _begun(
    folder: Path, about: dict[str, Any], corruptions: Sequence[Corruption], *, resume: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """Options of corruptions and hashes of files that are kept. Raises: `RunError` for a folder in use otherwise."""
    own = {each.name: to_plain(each) for each in corruptions}
    if not (folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir())):
        return own, {}
    known = (folder / ABOUT).is_file()
    if not (known and resume):
        mend = "Pass --resume to go on with it, or name another --out." if known else "Name another --out."
        raise RunError(f"{str(folder)!r} is not empty; allowed: a new folder. {mend}")
    before = read_object(folder / ABOUT)
    there = dict(before.get("corruptions", {}))
    was = dotted({**{key: before.get(key) for key in SAME}, **{name: there.get(name, own[name]) for name in own}})
    now = dotted({**{key: about[key] for key in SAME}, **own})
    changed = [
        f"{key} was {was.get(key)!r}, now {now.get(key)!r}" for key in {**was, **now} if was.get(key) != now.get(key)
    ]
    if changed:
        raise RunError(
            f"{str(folder)!r} was begun with other settings: {'; '.join(changed)}. Resume with the same ones, or name "
            "another --out."
        )
    files = {name: digest for name, digest in before.get("files", {}).items() if _is_whole(folder / name, digest)}
    return {**there, **own}, files


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of_file(path) == digest


def _colours_last(pictures: Pictures) -> tuple[int, ...]:
    """The shape of the array of the pictures."""
    channels, height, width = pictures.shape
    return len(pictures), height, width, channels


def _array(shape: Sequence[int], dtype: str, parts: Iterable[Tensor]) -> Iterator[bytes]:
    """An .npy file in pieces."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": tuple(shape)})
    yield head.getvalue()
    for part in parts:
        yield part.contiguous().numpy().astype(dtype, copy=False).tobytes()


@dataclass(frozen=True)
class _Bar:
    """Tells how far the work on one file brings the whole."""

    progress: Progress | None
    before: int
    total: int
    name: str

    def at(self, done: int) -> None:
        """So many pictures of this file are done."""
        if self.progress is not None:
            self.progress(self.before + done, self.total, self.name)


def _corrupted(corruption: Corruption, severity: int, about: Mapping[str, Any], x: Tensor, place: Tensor) -> Tensor:
    return applied(corruption, x, severity, seed=about["seed"], place=place, table=about["table"])


def _parts(
    pictures: Pictures, change: Callable[[Tensor, Tensor], Tensor], batch: int, device: torch.device, bar: _Bar
) -> Iterator[Tensor]:
    """Batches of changed pictures as bytes (n, H, W, C)."""
    for first in range(0, len(pictures), batch):
        bar.at(first)
        some = pictures.take(slice(first, first + batch))
        yield cut(change(some.x().to(device), some.place)).to("cpu", torch.uint8).permute(0, 2, 3, 1)


def _checked(stored: StoredSet, name: str) -> Any:
    path, expected = stored.folder / name, stored.files.get(name)
    if not path.is_file():
        raise DataError(f"{str(path)!r} is missing. Bring it back, or run `holdfast corrupt` with --resume.")
    found = sha256_of_file(path)
    if found != expected:
        raise DataError(
            f"{str(path)!r}: sha256 is {found}, not {expected} as {ABOUT} says: the file was changed or damaged. Bring "
            "it back, or run `holdfast corrupt` with --resume, which makes it anew."
        )
    return np.load(path, allow_pickle=False)

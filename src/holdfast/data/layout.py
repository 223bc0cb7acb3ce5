"""Which files of a folder make up a split, and their classes.

Either FOLDER/CLASS/PICTURE, which is all one test split since nothing says what may be trained on, or split folders
train/, test/ and validation/ (or val/) above the classes. Class names are sorted as text ("10" before "2"), as
is usual for such folders, and numbered from 0. Files take turns over the classes, the first of each in order of
name, then the second of each, so that the first n are a fair sample.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from holdfast.data.splits import places_of
from holdfast.errors import DataError

FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
LAYOUT = "FOLDER/CLASS/PICTURE or FOLDER/train/CLASS/PICTURE (also test, validation)"

Files = Sequence[tuple[Path, int]]  # pictures to be, each with its label


def files_of(folder: Path, split: str, seed: int) -> tuple[tuple[str, ...], Files]:
    """The class names and the files of a split.

    Without validation/, the validation split is a tenth of train/, evenly over the classes, chosen by `seed`.
    Raises: `DataError` for a file instead of a folder, no sub-folders, a split that is not there, a class folder
        without files, or a class that train/ does not have.
    """
    names = _sub_folders(folder)
    if not set(names) <= {name for group in FOLDERS.values() for name in group}:
        if split != "test":
            raise DataError(
                f"{str(folder)!r}: no train/ in it, so all of it is split 'test', not {split!r}. "
                f"Arrange it as {LAYOUT}."
            )
        return tuple(names), _turns(folder, names)
    parts = {s: next((n for n in group if n in names), None) for s, group in FOLDERS.items()}
    source = parts[split] or (parts["train"] if split == "validation" else None)
    if source is None:
        raise DataError(
            f"{str(folder)!r}: has {', '.join(names)} but no {split}/; allowed: {LAYOUT}. "
            "Add it, or choose another split."
        )
    classes = _sub_folders(folder / (parts["train"] or source))
    files = _turns(folder / source, classes)
    carved = source == parts["train"] and not parts["validation"]
    return tuple(classes), _carve(folder, files, split, seed) if carved else files


def lies_flat(folder: Path) -> bool:
    """Whether it is a folder of files without sub-folders, which says nothing of classes."""
    if not folder.is_dir():
        return False
    entries = [entry for entry in folder.iterdir() if _visible(entry.name)]
    return bool(entries) and all(entry.is_file() for entry in entries)


def flat_files(folder: Path) -> Files:
    """Its files in order of name, each with label 0."""
    return [(path, 0) for path in sorted(folder.iterdir()) if _visible(path.name) and path.is_file()]


def _carve(folder: Path, files: Files, split: str, seed: int) -> Files:
    rows = places_of(split, torch.tensor([label for _, label in files]), seed)
    if not len(rows):
        raise DataError(
            f"{str(folder)!r}: {len(files)} files in train/ leave none for split {split!r}. Add more pictures."
        )
    return [files[row] for row in rows.tolist()]


def _sub_folders(folder: Path) -> list[str]:
    """Names of the visible sub-folders, sorted as text."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{str(folder)!r} {what}; allowed: a folder arranged as {LAYOUT}. Name the folder.")
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and _visible(entry.name))
    except OSError as error:
        raise DataError(f"{str(folder)!r}: cannot be read ({error.strerror}). Give yourself the right to.") from error
    if not names:
        raise DataError(f"{str(folder)!r}: no sub-folders; allowed: {LAYOUT}. Give each class a folder.")
    return names


def _turns(folder: Path, classes: Sequence[str]) -> Files:
    """The files of the class folders that are there: the first of each, then the second of each, and so on."""
    found = []
    for name in _sub_folders(folder):
        if name not in classes:
            raise DataError(
                f"{str(folder)!r}: class {name!r} is not in train/; allowed: {', '.join(classes)}. "
                "Rename the folder or add the class to train/."
            )
        files = _files_under(folder / name)
        found += [(turn, classes.index(name), path) for turn, path in enumerate(files)]
    return [(path, label) for _, label, path in sorted(found)]


def _files_under(folder: Path) -> list[Path]:
    """All visible files at any depth, in order of name."""
    paths = (p for p in sorted(folder.rglob("*")) if all(map(_visible, p.relative_to(folder).parts)))
    files = [path for path in paths if path.is_file()]
    if not files:
        raise DataError(
            f"{str(folder)!r}: class folder without files; allowed: at least one picture a class. "
            "Put pictures into it, or delete it."
        )
    return files


def _visible(name: str) -> bool:
    """Not what operating systems leave behind, such as .DS_Store and __MACOSX."""
    return not name.startswith((".", "__"))

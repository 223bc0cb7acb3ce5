"""A folder of pictures with a sub-folder per class, arranged as `holdfast.data.layout` says."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from holdfast.data.images import Decoded, Header, decode, header, size_of
from holdfast.data.layout import Files, files_of, flat_files
from holdfast.data.pictures import Pictures
from holdfast.data.splits import check_choice
from holdfast.errors import DataError

Found = Sequence[tuple[Path, int, Header]]  # picture files, each with its label and header


def load_folder(
    folder: Path,
    split: str = "test",
    *,
    limit: int | None = None,
    seed: int = 0,
    resize: int | tuple[int, int] | None = None,
) -> Pictures:
    """Read a split of a folder of PNG, JPEG, BMP or WebP pictures.

    Grey pictures give one channel when all of the split are grey, else all have three; other modes are converted
    and EXIF orientation is applied, as `notes` says. A file that is no picture is left out, named in `skipped`.
    Args: `limit` the first so many pictures; `seed` chooses the validation pictures when there is train/ but no
        validation/; `resize` (H, W) or one number for both, bilinear with smoothing, aspect not kept.
    Raises: `DataError` for a wrong arrangement (`files_of`), pictures of several sizes without `resize`, or no
        picture at all; `OptionError` for wrong options.
    Cost: reads the headers of all files of the split, and the whole of those kept.
    """
    check_choice(split, limit, seed)
    classes, files = files_of(folder, split, seed)
    return _load(folder, split, classes, files, limit, resize)[0]


def load_flat(
    folder: Path, *, limit: int | None = None, resize: int | tuple[int, int] | None = None
) -> tuple[Pictures, tuple[str, ...]]:
    """Read pictures of no known class that lie in a folder without sub-folders, in order of name, and their names.

    They are labelled 0, of the one class "unknown". Arguments and errors otherwise as for `load_folder`.
    """
    check_choice("test", limit, 0)
    pictures, paths = _load(folder, "test", ("unknown",), flat_files(folder), limit, resize)
    return pictures, tuple(path.name for path in paths)


def _load(
    folder: Path,
    split: str,
    classes: tuple[str, ...],
    files: Files,
    limit: int | None,
    resize: int | tuple[int, int] | None,
) -> tuple[Pictures, list[Path]]:
    """Pictures of files, and which of the files they are from."""
    size = size_of(resize)
    found, skipped = _headers(files)
    if size is None:
        _check_sizes(folder, found)
    pictures, labels, broken = _decode(found, limit, size)
    names = tuple(str(path.relative_to(folder)) for path in sorted([*skipped, *broken]))
    if not pictures:
        raise DataError(
            f"{str(folder)!r}: none of the {len(files)} files of split {split!r} is a picture, "
            f"e.g. {names[0]!r}; allowed: PNG, JPEG, BMP, WebP. Convert them."
        )
    whole = [path for path, _, _ in found if path not in set(broken)]
    read = Pictures(
        name=folder.resolve().name,
        split=split,
        images=torch.stack([picture.pixels for picture in pictures]),
        labels=torch.tensor(labels),
        classes=classes,
        place=torch.arange(len(labels)),
        skipped=names,
        notes=_notes(pictures),
    )
    return read, whole[: len(pictures)]


def _headers(files: Files) -> tuple[Found, list[Path]]:
    """What is known of each picture before reading it, and the files that are none."""
    good, bad = [], []
    for path, label in files:
        head = header(path)
        if head is None:
            bad.append(path)
        else:
            good.append((path, label, head))
    return good, bad


def _check_sizes(folder: Path, found: Found) -> None:
    first: dict[tuple[int, int], Path] = {}
    for path, _, head in found:
        first.setdefault(head.size, path)
    if len(first) > 1:
        examples = [f"{path.name!r} {h}x{w}" for (h, w), path in list(first.items())[:2]]
        raise DataError(
            f"{str(folder)!r}: pictures of {len(first)} sizes, e.g. {' and '.join(examples)} (HxW); "
            "allowed: one size. Choose one with resize=(H, W)."
        )


def _decode(
    found: Found, limit: int | None, size: tuple[int, int] | None
) -> tuple[list[Decoded], list[int], list[Path]]:
    """Pictures and labels up to the limit, and the files that turned out to be broken on the way."""
    # Decided by the headers of the whole split, so that a limit does not change the number of channels.
    colour = any(not head.grey for _, _, head in found)
    pictures: list[Decoded] = []
    labels: list[int] = []
    broken: list[Path] = []
    for path, label, _ in found:
        if len(pictures) == limit:
            break
        picture = decode(path, size, colour)
        if picture is None:
            broken.append(path)
        else:
            pictures.append(picture)
            labels.append(label)
    return pictures, labels, broken


def _notes(pictures: Sequence[Decoded]) -> tuple[str, ...]:
    changes = Counter(change for picture in pictures for change in picture.changes)
    return tuple(f"{changes[change]} of {len(pictures)} pictures {change}" for change in sorted(changes))

"""One door to every set: a name or a folder, a split, and as many of its pictures as wanted."""

import os
from pathlib import Path

import torch

from holdfast.data.fetch import fetch
from holdfast.data.finding import locate, roots
from holdfast.data.folder import load_folder
from holdfast.data.pictures import Pictures
from holdfast.data.published import Part, PublishedSet
from holdfast.data.selection import selected, split_name
from holdfast.data.sets import SETS
from holdfast.data.splits import check_choice, part_of, places_of
from holdfast.errors import DataError, OptionError, unknown


def load(
    name_or_folder: str | os.PathLike[str],
    split: str = "test",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    resize: int | tuple[int, int] | None = None,
    progress: bool = False,
) -> Pictures:
    """Read a split of a published set by name, or of a folder of pictures with a sub-folder per class.

    A published set is looked for in `data_dir`, in the folder that HOLDFAST_DATA names, and in the cache; when it is
    in none of them it is fetched into the first of these that is named. It is verified in any case.
    `NAME:without=CLASS,...` leaves classes out, so that a model never sees them; `NAME:only=CLASS,...` is those alone.
    Args: `split` "train", "validation" (a tenth of the publisher's training part, evenly over the classes) or "test";
        `limit` the first so many pictures of the split, all by default;
        `seed` chooses the validation pictures: ask for train and validation with the same one;
        `resize` (H, W) or one number for both, for folders only;
        `progress` shows a bar on stderr while fetching.
    Raises: `OptionError` for an unknown name or split, a limit below 1, or `resize` with a published set;
        `DataError` when data is missing, corrupt or empty.
    Cost: reads and hashes the publisher's whole part, at most 50 MB for MNIST and 150 MB for CIFAR-10.

    >>> load("digits", "test", limit=2).x().shape
    torch.Size([2, 1, 8, 8])
    """
    check_choice(split, limit, seed)
    given = os.fspath(name_or_folder)
    own, choice = (given, None) if Path(given).exists() else split_name(given)
    if choice is not None:
        whole = load(own, split, data_dir=data_dir, seed=seed, resize=resize, progress=progress)
        return selected(whole, choice, limit)
    if given not in SETS:
        return load_folder(_folder(name_or_folder), split, limit=limit, seed=seed, resize=resize)
    known = SETS[given]
    if resize is not None:
        size = "x".join(map(str, known.shape[1:]))
        raise OptionError(f"resize={resize!r} with {given!r}, which is {size}; allowed: folders only. Leave it out.")
    path = _path(known, part_of(split), data_dir, progress)
    part = known.read(path, part_of(split))
    return _pictures(known.name, split, part, limit, seed)


def _pictures(name: str, split: str, part: Part, limit: int | None, seed: int) -> Pictures:
    rows = places_of(split, part.labels, seed)
    if not len(rows):
        raise DataError(f"{name}: no pictures in split {split!r}. Choose another split or a larger set.")
    kept = rows[:limit]
    return Pictures(name, split, part.images[kept], part.labels[kept], part.classes, torch.arange(len(kept)))


def _path(known: PublishedSet, part: str, data_dir: str | os.PathLike[str] | None, progress: bool) -> Path:
    """Where the part lies, after fetching it if need be."""
    embedded = known.locate(None, part)
    if embedded is not None:
        return embedded
    folders = roots(data_dir)
    path = locate(known, part, folders)
    if path is None:
        home = folders[0] / known.home
        fetch(known.name, known.downloads(part), home, progress=progress)
        path = locate(known, part, folders)
    if path is None:
        raise DataError(f"{known.name}: fetched into {str(home)!r}, but not found there. Run again, or fetch by hand.")
    return path


def _folder(given: str | os.PathLike[str]) -> Path:
    """The folder meant. A bare word that is no folder is taken for a mistyped name."""
    folder = Path(given).expanduser()
    looks_like_a_path = isinstance(given, os.PathLike) or os.sep in str(given) or str(given)[:1] in ("~", ".")
    if not folder.exists() and not looks_like_a_path:
        raise unknown("data set", str(given), SETS)
    return folder

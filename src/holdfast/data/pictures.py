"""Labelled pictures in memory: bytes as published, floats in [0, 1] on demand."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import DataError

Index = slice | Tensor | Sequence[int]


@dataclass(frozen=True, eq=False, repr=False)
class Pictures:
    """Some pictures of one split, with their labels and their places in the whole split.

    The pixels stay as they are stored: uint8, or float32 for a caller's own arrays, which are kept untouched
    so that a wrong scale can be seen and reported instead of being hidden here.
    Raises: `DataError` when shapes or dtypes do not agree or a label is outside [0, K).
    """

    name: str  # of the set or of the folder
    split: str  # "train", "validation" or "test"
    images: Tensor  # (N, C, H, W) uint8 in [0, 255], or float32 as given by the caller
    labels: Tensor  # (N,) int64 in [0, K)
    classes: tuple[str, ...]  # K names, in order of label
    place: Tensor  # (N,) int64, row in the full split; the same whatever `limit` or `take` left out
    skipped: tuple[str, ...] = ()  # files that are not pictures, as paths
    notes: tuple[str, ...] = ()  # what was changed on reading, one sentence each

    def __post_init__(self) -> None:
        _check_tensors(self.name, self.images, self.labels, self.place)
        _check_labels(self.name, self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"Pictures({self.name!r}, {self.split!r}, n={len(self)}, shape={shape}, k={len(self.classes)})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every picture."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def x(self, index: Index | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """The pictures (n, C, H, W) as a new float tensor: byte / 255, or stored floats as they are.

        Args: `index` the rows wanted, all by default; `dtype` a float type.
        """
        chosen = self.images if index is None else _rows(self.images, index)
        made = chosen.to(dtype, copy=True)
        return made.div_(255) if self.images.dtype == torch.uint8 else made

    def take(self, index: Index) -> "Pictures":
        """The pictures of the given rows (a slice, int64 rows or a bool mask), each with its place."""
        return replace(self, images=self.images[index], labels=self.labels[index], place=self.place[index])

    def digests(self) -> list[bytes]:
        """One of each picture's pixels, 16 bytes: pictures with the same one are the same, byte for byte."""
        rows = self.images.cpu().contiguous().numpy()
        return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]

    def sha256(self) -> str:
        """Hex SHA-256 over dtype and shape, then pixels, then labels as little-endian int64."""
        digest = hashlib.sha256(f"{self.images.dtype} {tuple(self.images.shape)}\n".encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        *,
        split: str = "test",
    ) -> "Pictures":
        """Pictures from a caller's own NumPy arrays or tensors.

        Args: `images` (N, C, H, W) or grey (N, H, W), uint8, or float of any scale (stored as float32; what
            the model sees is what is given, so [0, 1] is meant); `labels` (N,) integers in [0, K);
            `classes` K names, by default "0", "1", ... up to the largest label and at least two.
        Raises: `DataError` for another shape or dtype, for colour on the last axis, NaN, or no pictures.
        Cost: one copy of the arrays.
        """
        pixels, targets = _pixels(name, images), _targets(name, labels)
        if not len(pixels):
            raise DataError(f"{name}: no pictures; give at least one.")
        known = max(int(targets.max()) + 1, 2) if len(targets) else 0
        names = tuple(map(str, range(known))) if classes is None else tuple(classes)
        return cls(name, split, pixels, targets, names, torch.arange(len(targets)))


def _rows(images: Tensor, index: Index) -> Tensor:
    """`images[index]`, by a way that costs a small batch a tenth of that where it can be gone."""
    if isinstance(index, Tensor) and index.dtype == torch.int64 and index.ndim == 1 and index.device == images.device:
        from_the_front = torch.where(index < 0, index + len(images), index)
        return images.index_select(0, from_the_front)
    return images[index]


def _check_tensors(name: str, images: Tensor, labels: Tensor, place: Tensor) -> None:
    if images.ndim != 4 or images.dtype not in (torch.uint8, torch.float32):
        raise DataError(
            f"{name}: images of shape {tuple(images.shape)} and {images.dtype}; "
            "allowed: (N, C, H, W), uint8 or float32. Pictures.from_arrays converts the usual forms."
        )
    for word, rows in (("labels", labels), ("place", place)):
        if rows.shape != images.shape[:1] or rows.dtype != torch.int64:
            raise DataError(
                f"{name}: {word} of shape {tuple(rows.shape)} and {rows.dtype} beside {len(images)} pictures; "
                f"allowed: ({len(images)},) int64. Give one whole number a picture."
            )


def _check_labels(name: str, labels: Tensor, classes: tuple[str, ...]) -> None:
    if not len(labels):
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= len(classes):
        wrong = low if low < 0 else high
        first = int((labels == wrong).nonzero()[0])
        raise DataError(
            f"{name}: label {wrong} of picture {first}; allowed: 0 to {len(classes) - 1} for "
            f"{len(classes)} classes. Number the classes from 0, or name all of them in `classes`."
        )


def _pixels(name: str, images: Any) -> Tensor:
    given = _copied(name, "images", images)
    if given.ndim == 3:
        given = given[:, None]
    if given.ndim != 4 or 0 in given.shape[1:]:
        raise DataError(
            f"{name}: images of shape {tuple(given.shape)}; allowed: (N, C, H, W) or grey (N, H, W). "
            "Add the missing axis, e.g. images[None] for a single picture."
        )
    if given.shape[1] not in (1, 3) and given.shape[3] in (1, 3):
        raise DataError(
            f"{name}: images of shape {tuple(given.shape)} seem to have colour last; "
            "allowed: (N, C, H, W). Pass images.transpose(0, 3, 1, 2) of an array, permute of a tensor."
        )
    if given.dtype != torch.uint8 and not given.is_floating_point():
        raise DataError(
            f"{name}: images of {given.dtype}; allowed: uint8 (0 to 255) or floats in [0, 1]. "
            "Convert them, e.g. images.astype('uint8')."
        )
    pixels = (given if given.dtype == torch.uint8 else given.float()).contiguous()
    if pixels.is_floating_point() and not bool(pixels.isfinite().all()):
        raise DataError(f"{name}: images hold NaN or infinity; allowed: finite float32. Mend or drop them.")
    return pixels


def _copied(name: str, word: str, values: Any) -> Tensor:
    """A copy that nobody else holds, so that pictures stay what they were when they were hashed."""
    if isinstance(values, Tensor):
        return values.detach().to("cpu", copy=True)
    try:
        return torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:  # text, objects, rows of different lengths
        raise DataError(
            f"{name}: {word} are no array of numbers ({' '.join(str(error).split())}); "
            "allowed: a NumPy array, a tensor, or nested lists. Convert them."
        ) from error


def _targets(name: str, labels: Any) -> Tensor:
    given = _copied(name, "labels", labels)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise DataError(
            f"{name}: labels of {given.dtype}; allowed: whole numbers, one a picture. "
            "Pass class numbers from 0; argmax of one-hot rows gives them."
        )
    return given.to(torch.int64)

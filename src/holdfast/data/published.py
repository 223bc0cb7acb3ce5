"""What every published set offers, and how its contents are verified."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from holdfast.errors import DataError

MEND = "Delete it and run again to fetch it, or point --data-dir to a good copy."

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file that a publisher offers."""

    file: str
    md5: str  # as published
    urls: tuple[str, ...]  # tried in this order; all offer the same bytes


@dataclass(frozen=True, eq=False)
class Part:
    """The training or test part of a set, as published, in the publisher's order."""

    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64
    classes: tuple[str, ...]


class PublishedSet(Protocol):
    """A set in its publisher's file format. A part is "train" or "test"."""

    @property
    def name(self) -> str:
        """What the set is called."""

    @property
    def title(self) -> str:
        """One line for listings."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in order of label."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Pictures in each part."""

    @property
    def home(self) -> str:
        """Folder under the data folder that fetched files go to."""

    def locate(self, root: Path | None, part: str) -> Path | None:
        """Where a part lies under a data folder (None: embedded), or None. Looks at names only."""

    def read(self, path: Path, part: str) -> Part:
        """Read and verify a part from what `locate` returned. Raises `DataError`."""

    def downloads(self, part: str) -> tuple[Download, ...]:
        """The files of a part; empty for an embedded set."""


def verify(path: Path, what: str, content: Bytes, expected: str, algorithm: str = "sha256") -> None:
    """Raises `DataError` when the content does not have the expected hex digest; `what` names it there."""
    given = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if given != expected:
        raise DataError(f"{str(path)!r}: {algorithm} of {what} is {given}, not the published {expected}. {MEND}")

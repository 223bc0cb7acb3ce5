"""Street View House Numbers, the cropped digits, in their publisher's .mat files.

`X` is (32, 32, 3, N), `y` (N, 1) with 10 for the digit 0; here 10 becomes 0, so that label and digit agree.
Source: Netzer et al. 2011, "Reading digits in natural images with unsupervised feature learning", format 2.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast.data.published import MEND, Download, Part, verify
from holdfast.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SvhnSet:
    """Colour crops of house numbers; the publisher's extra pictures are not used."""

    name: str
    title: str
    classes: tuple[str, ...]
    md5: Mapping[str, str] = field(repr=False)  # of the file of each part, as published
    url: str = field(repr=False)
    home: str = "svhn"
    shape: tuple[int, int, int] = (3, 32, 32)
    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 73_257, "test": 26_032})

    def locate(self, root: Path | None, part: str) -> Path | None:
        """The file of a part, in the folder itself or in svhn/ under it."""
        if root is None:
            return None
        candidates = (folder / _file(part) for folder in (root / self.home, root / "SVHN", root))
        return next((path for path in candidates if path.is_file()), None)

    def read(self, path: Path, part: str) -> Part:
        """Read a part. Raises `DataError` for a wrong checksum, before anything is parsed, or a wrong layout."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{str(path)!r}: cannot be read ({error.strerror}). {MEND}") from error
        verify(path, "the file", content, self.md5[part], "md5")
        images, labels = parse_mat(content, str(path))
        return Part(images, labels, self.classes)

    def downloads(self, part: str) -> tuple[Download, ...]:
        """The file of the part."""
        return (Download(file=_file(part), md5=self.md5[part], urls=(f"{self.url}{_file(part)}",)),)


def parse_mat(content: bytes, source: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 3, 32, 32) uint8 and digits (N,) int64 from the bytes of a .mat file.

    Args: `content` of the file; `source` names it in errors.
    Raises: `DataError` when it is no .mat file of version 5 or holds other arrays.
    """
    from scipy.io import loadmat

    try:
        arrays: dict[str, Any] = loadmat(io.BytesIO(content), variable_names=["X", "y"])
    except Exception as error:  # a corrupt file can raise almost anything
        raise DataError(f"{source!r}: not a whole .mat file ({' '.join(str(error).split())}). {MEND}") from error
    x, y = arrays.get("X"), arrays.get("y")
    if x is None or y is None or x.ndim != 4 or x.shape[:3] != (32, 32, 3) or x.dtype != np.uint8:
        raise DataError(f"{source!r}: no X of (32, 32, 3, N) bytes with labels y in it. {MEND}")
    labels = torch.from_numpy(y.astype(np.int64).reshape(-1))
    if len(labels) != x.shape[3] or int(labels.min()) < 1 or int(labels.max()) > 10:
        raise DataError(
            f"{source!r}: {len(labels)} labels for {x.shape[3]} pictures; allowed: one each, 1 to 10. {MEND}"
        )
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(3, 2, 0, 1)))
    return images, labels % 10


def _file(part: str) -> str:
    return f"{part}_32x32.mat"


SVHN = SvhnSet(
    name="svhn",
    title="house numbers seen from the street, 32x32 colour (Netzer et al.)",
    classes=tuple("0123456789"),
    url="http://ufldl.stanford.edu/housenumbers/",
    md5={"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"},
)

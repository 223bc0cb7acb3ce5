"""MNIST and Fashion-MNIST in their publishers' idx files, gzipped or plain.

An idx file of bytes: two zeros, 8 (unsigned byte), the number of axes, each axis as a big-endian 32-bit number,
then the values.
Source: LeCun, Cortes & Burges, "The MNIST database", section "File formats"; Xiao, Rasul & Vollgraf 2017,
arXiv:1708.07747, for Fashion-MNIST.
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from holdfast.data.published import MEND, Download, Part, verify
from holdfast.errors import DataError

STEMS = {"train": "train", "test": "t10k"}
KINDS = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """A set of grey 28x28 pictures in four idx files."""

    name: str
    title: str
    classes: tuple[str, ...]
    md5: Mapping[str, str] = field(repr=False)  # of the published .gz files, by name without .gz
    sha256: Mapping[str, str] = field(repr=False)  # of their content, so that re-packed files are known too
    urls: tuple[str, ...] = field(repr=False)  # folders that offer the files
    folders: tuple[str, ...]  # where the files may lie under a data folder; fetched ones go to the first
    shape: tuple[int, int, int] = (1, 28, 28)
    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 60_000, "test": 10_000})

    @property
    def home(self) -> str:
        """Folder under the data folder that fetched files go to."""
        return self.folders[0]

    def locate(self, root: Path | None, part: str) -> Path | None:
        """The folder that holds both files of a part, or None."""
        if root is None:
            return None
        folders = [root / folder for folder in self.folders]
        if root.name in (Path(folder).name for folder in self.folders):
            folders.append(root)
        whole = (f for f in folders if all(_file(f, stem) for stem in _stems(part).values()))
        return next(whole, None)

    def read(self, path: Path, part: str) -> Part:
        """Read both files of a part. Raises `DataError` for a wrong header, length or checksum."""
        images, labels = (self._read(path, stem) for stem in _stems(part).values())
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{str(path)!r}: images {tuple(images.shape)} do not go with labels {tuple(labels.shape)}; "
                "allowed: (N, H, W) and (N,). Delete both files and run again to fetch them."
            )
        return Part(images[:, None], labels.long(), self.classes)

    def downloads(self, part: str) -> tuple[Download, ...]:
        """The two published files of a part."""
        return tuple(
            Download(file=f"{stem}.gz", md5=self.md5[stem], urls=tuple(f"{url}{stem}.gz" for url in self.urls))
            for stem in _stems(part).values()
        )

    def _read(self, folder: Path, stem: str) -> Tensor:
        file = _file(folder, stem) or folder / f"{stem}.gz"
        content = content_of(file)
        values = parse_idx(content, str(file))
        verify(file, "the content", content, self.sha256[stem])
        return values


def read_idx(path: Path) -> Tensor:
    """The uint8 values of an idx file, gzipped or plain, in the shape that its header states.

    Raises: `DataError` when the file is missing, truncated, too long, or not an idx file of bytes.
    """
    return parse_idx(content_of(path), str(path))


def content_of(path: Path) -> bytes:
    """The bytes of a file, decompressed when it is gzipped, whatever its name says."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{str(path)!r}: cannot be read ({reason}). {MEND}") from error


def parse_idx(content: bytes, source: str) -> Tensor:
    """The uint8 values in the bytes of an idx file; `source` names it in errors. Raises `DataError`."""
    if len(content) < 4 or content[:2] != b"\0\0" or not content[3]:
        begin = content[:4].hex() or "nothing"
        raise DataError(f"{source!r}: starts with {begin}, not with an idx header. {MEND}")
    if content[2] != 8:
        raise DataError(f"{source!r}: idx type 0x{content[2]:02x}; allowed: 0x08, unsigned bytes. {MEND}")
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    given, stated = len(content) - start, math.prod(shape)
    if given != stated:
        raise DataError(
            f"{source!r}: {max(given, 0)} values, but its header states {'x'.join(map(str, shape))} = {stated}: "
            f"the file is {'cut off' if given < stated else 'too long'}. {MEND}"
        )
    values = bytearray(memoryview(content)[start:])
    return torch.frombuffer(values, dtype=torch.uint8).view(shape) if stated else torch.zeros(shape).byte()


def _stems(part: str) -> dict[str, str]:
    return {kind: f"{STEMS[part]}-{ending}" for kind, ending in KINDS.items()}


def _file(folder: Path, stem: str) -> Path | None:
    return next((file for file in (folder / f"{stem}.gz", folder / stem) if file.is_file()), None)


MNIST = IdxSet(
    name="mnist",
    title="handwritten digits, 28x28 grey (LeCun, Cortes & Burges)",
    classes=tuple("0123456789"),
    folders=("mnist", "MNIST/raw"),
    # The authors' own server refuses downloads at times; these two copies carry the published checksums.
    urls=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    md5={
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    title="articles of clothing, 28x28 grey (Xiao, Rasul & Vollgraf)",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    folders=("fashion-mnist", "FashionMNIST/raw"),
    urls=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    md5={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)

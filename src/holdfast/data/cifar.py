"""CIFAR-10 in its publisher's binary or Python version, as a folder or as the archive.

A record of the binary version is one label byte and 3,072 pixel bytes (red, green, blue plane, row by row).
The Python version is brought into the same records, so all four forms are verified against the same checksums.
Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images", and the set's page.
"""

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from holdfast.data.pickles import read_batch, read_names
from holdfast.data.published import MEND, Download, Part, verify
from holdfast.errors import DataError

PIXELS = 3 * 32 * 32
BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
LARGEST = 64 * 2**20  # bytes; a published file has half as many, so a larger one is not worth reading
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}


@dataclass(frozen=True, kw_only=True)
class CifarSet:
    """Small colour photographs in batches of 10,000."""

    name: str
    title: str
    classes: tuple[str, ...]
    sha256: Mapping[str, str] = field(repr=False)  # of the binary records, by batch
    md5: str = field(repr=False)  # of the binary archive, as published
    urls: tuple[str, ...] = field(repr=False)
    home: str = "cifar-10"
    shape: tuple[int, int, int] = (3, 32, 32)
    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 50_000, "test": 10_000})

    def locate(self, root: Path | None, part: str) -> Path | None:
        """The folder or archive that holds a part: binary before Python, folder before archive."""
        if root is None:
            return None
        candidates = [
            place / name
            for name in (BINARY, PYTHON, "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
            for place in (root, root / self.home)
        ]
        return next((path for path in [*candidates, root] if _has(path, part)), None)

    def read(self, path: Path, part: str) -> Part:
        """Read a part. Raises `DataError` for a missing, corrupt or unsafe file."""
        wanted = {name for batch in BATCHES[part] for name in (batch, f"{batch}.bin")}
        files = dict((_members if path.is_file() else _files)(path, wanted | {"batches.meta", "batches.meta.txt"}))
        self._check_names(path, files)
        rows = [self._batch(path, batch, files).view(-1, 1 + PIXELS) for batch in BATCHES[part]]
        images = torch.cat([row[:, 1:] for row in rows]).view(-1, *self.shape)
        return Part(images, torch.cat([row[:, 0] for row in rows]).long(), self.classes)

    def downloads(self, part: str) -> tuple[Download, ...]:
        """The binary archive, which holds both parts and needs no unpickling."""
        return (Download(file="cifar-10-binary.tar.gz", md5=self.md5, urls=self.urls),)

    def _batch(self, path: Path, batch: str, files: dict[str, bytes]) -> Tensor:
        """The verified records of one batch, end to end. Takes its file out of `files`, to free the memory."""
        if f"{batch}.bin" in files:
            source, records = f"{path}/{batch}.bin", files.pop(f"{batch}.bin")
        elif batch in files:
            source = f"{path}/{batch}"
            records = read_batch(files.pop(batch), source)
        else:
            raise DataError(f"{str(path)!r}: no {batch}.bin or {batch} in it. {MEND}")
        if not records or len(records) % (1 + PIXELS):
            raise DataError(
                f"{source!r}: {len(records)} bytes; allowed: a multiple of {1 + PIXELS}, a label and "
                f"{PIXELS} pixels a picture: the file is cut off. {MEND}"
            )
        verify(Path(source), "the records", records, self.sha256[batch])
        return torch.frombuffer(bytearray(records), dtype=torch.uint8)

    def _check_names(self, path: Path, files: Mapping[str, bytes]) -> None:
        """The class names beside the batches must be the published ones: another order means another set."""
        if "batches.meta.txt" in files:
            names = tuple(files["batches.meta.txt"].decode("utf-8", "replace").split())
        elif "batches.meta" in files:
            names = read_names(files["batches.meta"], f"{path}/batches.meta")
        else:
            return
        if names != self.classes:
            raise DataError(
                f"{str(path)!r}: classes in batches.meta are {', '.join(names)}; "
                f"published: {', '.join(self.classes)}. {MEND}"
            )


def _has(path: Path, part: str) -> bool:
    if path.name.endswith(".tar.gz"):
        return path.is_file()
    batches = BATCHES[part]
    return all((path / f"{b}.bin").is_file() for b in batches) or all((path / b).is_file() for b in batches)


def _files(folder: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for name in wanted:
        path = folder / name
        if path.is_file():
            _check_size(str(path), path.stat().st_size)
            try:
                yield name, path.read_bytes()
            except OSError as error:
                raise DataError(f"{str(path)!r}: cannot be read ({error.strerror}). {MEND}") from error


def _members(archive: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Nothing is unpacked to disk, so no member's name can lead out of the folder."""
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = Path(member.name).name
                content = tar.extractfile(member) if name in wanted else None
                if content is not None:
                    _check_size(f"{archive}/{name}", member.size)
                    yield name, content.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{str(archive)!r}: cannot be read as a .tar.gz archive ({error}). {MEND}") from error


def _check_size(source: str, size: int) -> None:
    if size > LARGEST:
        raise DataError(f"{source!r}: {size} bytes; allowed: at most {LARGEST}. {MEND}")


CIFAR_10 = CifarSet(
    name="cifar-10",
    title="small photographs of ten things, 32x32 colour (Krizhevsky)",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    ),
    sha256={
        "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
)

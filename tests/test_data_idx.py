"""idx files: read back exactly, and every kind of damage named."""

import gzip
import hashlib
import math
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data import SETS, find, load
from holdfast.data.idx import FASHION_MNIST, MNIST, parse_idx, read_idx
from holdfast.errors import DataError

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=4)
STEMS = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Only what a test writes can be found, and nothing can be fetched."""
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("holdfast.data.loading.fetch", lambda *_, **__: None)


def idx(values, shape):
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


def small_set(n=20, seed=0):
    """The contents of the four files of a set of n pictures a part."""
    draw = torch.Generator().manual_seed(seed)
    made = {}
    for stem in STEMS:
        shape = (n, 28, 28) if "images" in stem else (n,)
        made[stem] = idx(
            torch.randint(256 if "images" in stem else 10, shape, generator=draw).flatten().tolist(), shape
        )
    return made


def install(monkeypatch, folder, contents, known=MNIST, suffix=".gz"):
    """Write the files and make their checksums the published ones."""
    sums = {stem: hashlib.sha256(content).hexdigest() for stem, content in contents.items()}
    monkeypatch.setitem(SETS, known.name, replace(known, sha256=sums))
    folder.mkdir(parents=True)
    for stem, content in contents.items():
        (folder / f"{stem}{suffix}").write_bytes(gzip.compress(content) if suffix else content)


@settings(deadline=None, max_examples=30)
@given(shapes, st.randoms(use_true_random=False))
def test_any_shape_reads_back(shape, random):
    values = random.randbytes(math.prod(shape))
    got = parse_idx(idx(values, shape), "f")
    assert got.shape == tuple(shape)
    assert bytes(got.flatten().tolist()) == values


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzipped", "plain"])
def test_a_file_reads_back_whatever_its_name(tmp_path, pack):
    path = tmp_path / "numbers"
    path.write_bytes(pack(idx(range(12), (3, 4))))
    assert read_idx(path).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


GOOD = idx(range(12), (3, 4))
DAMAGED = {
    "empty": (b"", "starts with nothing, not with an idx header"),
    "a picture": (b"\x89PNG\r\n", "starts with 89504e47"),
    "no axes": (b"\0\0\x08\0", "not with an idx header"),
    "floats": (b"\0\0\x0d\x01" + bytes(8), "idx type 0x0d; allowed: 0x08"),
    "cut off": (GOOD[:-1], r"11 values, but its header states 3x4 = 12: the file is cut off"),
    "cut in the header": (GOOD[:7], "the file is cut off"),
    "too long": (GOOD + b"!", "13 values.*too long"),
    "cut gzip": (gzip.compress(GOOD)[:-9], "cannot be read"),
    "gzip with a flipped bit": (gzip.compress(GOOD)[:-8] + bytes(8), "cannot be read"),
    "not deflate": (gzip.compress(GOOD)[:10] + b"\xff" * 20, "cannot be read"),
}


@pytest.mark.parametrize(("content", "text"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_named(tmp_path, content, text):
    path = tmp_path / "damaged.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text) as caught:
        read_idx(path)
    assert "damaged.gz" in str(caught.value)
    assert "Delete it and run again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.gz.*No such file"):
        read_idx(tmp_path / "none.gz")


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
def test_a_set_reads_back(monkeypatch, tmp_path, folder, suffix):
    contents = small_set()
    install(monkeypatch, tmp_path / folder, contents, suffix=suffix)
    pictures = load("mnist", data_dir=tmp_path)
    assert bytes(pictures.images.flatten().tolist()) == contents["t10k-images-idx3-ubyte"][16:]
    assert bytes(pictures.labels.tolist()) == contents["t10k-labels-idx1-ubyte"][8:]
    assert pictures.shape == (1, 28, 28)
    train, validation = (load("mnist", split, data_dir=tmp_path) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (18, 2)
    assert find("mnist", tmp_path) == tmp_path / folder


def test_the_folder_of_the_set_itself_may_be_given(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path / "mnist", small_set())
    assert find("mnist", tmp_path / "mnist", "train") == tmp_path / "mnist"
    assert find("fashion-mnist", tmp_path / "mnist") is None


def test_fashion_mnist_has_names(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path / "fashion-mnist", small_set(seed=1), FASHION_MNIST)
    assert load("fashion-mnist", data_dir=tmp_path).classes[9] == "Ankle boot"


def test_repacking_is_not_damage(monkeypatch, tmp_path):
    contents = small_set()
    install(monkeypatch, tmp_path / "mnist", contents)
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(contents["t10k-images-idx3-ubyte"], compresslevel=1, mtime=12345))
    assert len(load("mnist", data_dir=tmp_path)) == 20


def test_another_pixel_is_not_the_published_file(monkeypatch, tmp_path):
    contents = small_set()
    install(monkeypatch, tmp_path / "mnist", contents)
    stem = "t10k-images-idx3-ubyte"
    changed = contents[stem][:-1] + bytes([contents[stem][-1] ^ 1])
    (tmp_path / "mnist" / f"{stem}.gz").write_bytes(gzip.compress(changed))
    given, published = (hashlib.sha256(c).hexdigest() for c in (changed, contents[stem]))
    with pytest.raises(DataError, match=rf"sha256 of the content is {given}, not the published {published}") as caught:
        load("mnist", data_dir=tmp_path)
    assert "--data-dir" in str(caught.value)
    assert load("mnist", "train", data_dir=tmp_path), "the other part is sound"


def test_images_and_labels_must_be_as_many(monkeypatch, tmp_path):
    contents = small_set() | {"t10k-labels-idx1-ubyte": idx([1, 2], (2,))}
    install(monkeypatch, tmp_path / "mnist", contents)
    with pytest.raises(DataError, match=r"images \(20, 28, 28\) do not go with labels \(2,\)"):
        load("mnist", data_dir=tmp_path)


def test_labels_out_of_range_are_refused(monkeypatch, tmp_path):
    contents = small_set() | {"t10k-labels-idx1-ubyte": idx([3] * 19 + [10], (20,))}
    install(monkeypatch, tmp_path / "mnist", contents)
    with pytest.raises(DataError, match=r"mnist: label 10 of picture 19; allowed: 0 to 9"):
        load("mnist", data_dir=tmp_path)

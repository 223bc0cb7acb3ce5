"""CIFAR-10: four forms of the same bytes give the same pictures; unsafe and damaged files are refused."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.data import SETS, find, load
from holdfast.data.cifar import CIFAR_10
from holdfast.data.pickles import read_batch, read_names
from holdfast.errors import DataError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
N = 4  # pictures a batch here


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Only what a test writes can be found, and nothing can be fetched."""
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("holdfast.data.loading.fetch", lambda *_, **__: None)


def batch_of(number):
    """Labels (N,) and pixels (N, 3072) of a batch, as arrays."""
    draw = np.random.default_rng(number)
    return draw.integers(0, 10, N).astype(np.uint8), draw.integers(0, 256, (N, 3072)).astype(np.uint8)


def binary(labels, pixels):
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels))


def text_2(value):
    return b"U" + bytes([len(value)]) + value  # a string of Python 2


def number_2(value):
    return b"J" + struct.pack("<i", value)


def pickle_2(labels, pixels):
    """A batch as Python 2 with an old NumPy wrote it: the published files have these opcodes."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number_2(0) + b"\x85" + text_2(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text_2(b"u1") + number_2(0) + number_2(1) + b"\x87R"
    dtype += b"(" + number_2(3) + text_2(b"|") + b"NNN" + number_2(-1) + number_2(-1) + number_2(0) + b"tb"
    values = b"T" + struct.pack("<i", pixels.nbytes) + pixels.tobytes()
    shape = number_2(len(labels)) + number_2(3072) + b"\x86"
    array += b"(" + number_2(1) + shape + dtype + b"\x89" + values + b"tb"
    many = b"](" + b"".join(number_2(label) for label in labels) + b"e"
    pairs = text_2(b"batch_label") + text_2(b"a batch") + text_2(b"labels") + many + text_2(b"data") + array
    return b"\x80\x02}(" + pairs + b"u."


def names_2(names=NAMES):
    listed = b"](" + b"".join(text_2(name.encode()) for name in names) + b"e"
    return b"\x80\x02}(" + text_2(b"num_vis") + number_2(3072) + text_2(b"label_names") + listed + b"u."


def contents(form):
    made = {}
    for number, batch in enumerate(BATCHES):
        labels, pixels = batch_of(number)
        if form == "binary":
            made[f"{batch}.bin"] = binary(labels, pixels)
        else:
            made[batch] = pickle_2(labels.tolist(), pixels)
    return made | (
        {"batches.meta.txt": "\n".join(NAMES).encode() + b"\n\n"} if form == "binary" else {"batches.meta": names_2()}
    )


def tar(path, files, folder):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write(root, form, packed, files=None):
    """Lay a form out under root and return where it lies."""
    files = contents(form) if files is None else files
    folder = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[form]
    if packed:
        path = root / f"cifar-10-{form}.tar.gz"
        tar(path, files, folder)
        return path
    (root / folder).mkdir()
    for name, content in files.items():
        (root / folder / name).write_bytes(content)
    return root / folder


@pytest.fixture
def known(monkeypatch):
    sums = {b: hashlib.sha256(binary(*batch_of(i))).hexdigest() for i, b in enumerate(BATCHES)}
    monkeypatch.setitem(SETS, "cifar-10", replace(CIFAR_10, sha256=sums))


FORMS = [(form, packed) for form in ("binary", "python") for packed in (False, True)]


@pytest.mark.parametrize(("form", "packed"), FORMS)
@pytest.mark.parametrize("below", ["", "cifar-10"])
def test_every_form_reads_back(known, tmp_path, form, packed, below):
    root = tmp_path / below
    root.mkdir(exist_ok=True)
    path = write(root, form, packed)
    assert find("cifar-10", tmp_path) == path
    test = load("cifar-10", data_dir=tmp_path)
    labels, pixels = batch_of(5)
    assert test.labels.tolist() == labels.tolist()
    assert torch.equal(test.images, torch.from_numpy(pixels).view(N, 3, 32, 32))
    assert test.classes == tuple(NAMES)
    train, validation = (load("cifar-10", split, data_dir=tmp_path) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (18, 2)
    want = sorted(binary(*batch_of(i))[3073 * k : 3073 * (k + 1)] for i in range(5) for k in range(N))
    got = [bytes([y]) + x.numpy().tobytes() for part in (train, validation) for y, x in zip(part.labels, part.images)]
    assert sorted(got) == want


@pytest.mark.parametrize(("form", "packed"), FORMS)
def test_another_pixel_is_not_the_published_batch(known, tmp_path, form, packed):
    labels, pixels = batch_of(5)
    pixels[0, 0] ^= 1
    changed = (
        {"test_batch.bin": binary(labels, pixels)}
        if form == "binary"
        else {"test_batch": pickle_2(labels.tolist(), pixels)}
    )
    write(tmp_path, form, packed, contents(form) | changed)
    with pytest.raises(
        DataError, match=r"test_batch.*sha256 of the records is [0-9a-f]{64}, not the published"
    ) as caught:
        load("cifar-10", data_dir=tmp_path)
    assert "--data-dir" in str(caught.value)


def test_a_batch_that_is_cut_off_is_named(known, tmp_path):
    write(tmp_path, "binary", False, contents("binary") | {"test_batch.bin": bytes(4000)})
    with pytest.raises(DataError, match=r"test_batch.bin': 4000 bytes; allowed: a multiple of 3073.*cut off"):
        load("cifar-10", data_dir=tmp_path)


def test_an_empty_batch_is_named(known, tmp_path):
    write(tmp_path, "binary", False, contents("binary") | {"test_batch.bin": b""})
    with pytest.raises(DataError, match=r"test_batch.bin': 0 bytes"):
        load("cifar-10", data_dir=tmp_path)


def test_an_archive_that_is_cut_off_is_named(known, tmp_path):
    path = write(tmp_path, "binary", True)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"binary.tar.gz': cannot be read as a .tar.gz archive"):
        load("cifar-10", data_dir=tmp_path)


def test_an_archive_without_the_batch_is_named(known, tmp_path):
    files = contents("binary")
    del files["test_batch.bin"]
    write(tmp_path, "binary", True, files)
    with pytest.raises(DataError, match=r"no test_batch\.bin or test_batch in it"):
        load("cifar-10", data_dir=tmp_path)


def test_nothing_leaves_the_archive(known, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    files = contents("binary") | {"../../escaped.txt": b"out", "../../../batches.meta.txt": "\n".join(NAMES).encode()}
    write(root, "binary", True, files)
    assert len(load("cifar-10", data_dir=root)) == N
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["cifar-10-binary.tar.gz", "root"]


def test_a_link_in_the_archive_is_not_followed(known, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(binary(*batch_of(5)))
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-bin/other")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(DataError, match=r"no test_batch\.bin"):
        load("cifar-10", data_dir=tmp_path)


def test_a_file_far_too_large_is_not_read(known, tmp_path):
    write(tmp_path, "binary", False)
    os.truncate(tmp_path / "cifar-10-batches-bin" / "test_batch.bin", 2**30)
    with pytest.raises(DataError, match=r"1073741824 bytes; allowed: at most"):
        load("cifar-10", data_dir=tmp_path)


@pytest.mark.parametrize("form", ["binary", "python"])
def test_other_class_names_mean_another_set(known, tmp_path, form):
    swapped = ["automobile", "airplane", *NAMES[2:]]
    meta = {"batches.meta.txt": "\n".join(swapped).encode()} if form == "binary" else {"batches.meta": names_2(swapped)}
    write(tmp_path, form, False, contents(form) | meta)
    with pytest.raises(
        DataError, match=r"classes in batches.meta are automobile, airplane, .*published: airplane, auto"
    ):
        load("cifar-10", data_dir=tmp_path)


def test_class_names_may_be_missing(known, tmp_path):
    files = contents("binary")
    del files["batches.meta.txt"]
    write(tmp_path, "binary", False, files)
    assert load("cifar-10", data_dir=tmp_path).classes == tuple(NAMES)


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_pickle_of_python_3_is_read_too(protocol):
    labels, pixels = batch_of(1)
    content = pickle.dumps({"labels": labels.tolist(), "data": pixels}, protocol=protocol)
    assert read_batch(content, "f") == binary(labels, pixels)
    assert read_names(pickle.dumps({"label_names": NAMES}, protocol=protocol), "f") == tuple(NAMES)


class Runs:
    """Does something when it is unpickled in the ordinary way."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = {
    "system": lambda mark: Runs(os.system, f"touch {mark}"),
    "open": lambda mark: Runs(open, str(mark), "w"),
    "eval": lambda mark: Runs(eval, f"open({str(mark)!r}, 'w')"),
    "attribute": lambda mark: Runs(getattr, "text", "upper"),
    "frombuffer": lambda mark: Runs(np.frombuffer, b"abc"),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_asks_for_code_is_refused(tmp_path, make, protocol):
    mark = tmp_path / "ran"
    content = pickle.dumps({"labels": [1], "data": make(mark)}, protocol=protocol)
    with pytest.raises(
        DataError, match=r"'batch': refused, for it asks for .*allowed: arrays of bytes.*binary version"
    ):
        read_batch(content, "batch")
    assert not mark.exists()


def test_a_persistent_object_is_refused():
    with pytest.raises(DataError, match="refused, for it asks for an object from outside"):
        read_batch(b"Pelsewhere\n.", "batch")


def test_a_hostile_pickle_in_a_set_runs_nothing(known, tmp_path):
    mark = tmp_path / "ran"
    hostile = pickle.dumps(Runs(os.system, f"touch {mark}"), protocol=2)
    write(tmp_path, "python", True, contents("python") | {"test_batch": hostile})
    with pytest.raises(DataError, match=r"test_batch': refused"):
        load("cifar-10", data_dir=tmp_path)
    assert not mark.exists()


LABELS, PIXELS = batch_of(0)
WRONG = {
    "empty": (b"", "not a whole pickle"),
    "cut off": (pickle_2(LABELS.tolist(), PIXELS)[:-2000], "not a whole pickle"),
    "text": (b"hello", "not a whole pickle"),
    "a list": (pickle.dumps([1, 2]), "holds a list; allowed: a dict"),
    "no pixels": (pickle.dumps({"labels": [1]}), "no b'labels' with b'data'"),
    "no labels": (pickle.dumps({"data": PIXELS}, protocol=4), "no b'labels' with b'data'"),
    "too few labels": (pickle_2(LABELS.tolist()[1:], PIXELS), "no b'labels' with b'data'"),
    "a label of 256": (pickle_2([256, 1, 2, 3], PIXELS), "no b'labels' with b'data'"),
    "wide pixels": (pickle.dumps({"labels": [1], "data": PIXELS[:1].astype(np.uint16)}, protocol=4), "no b'labels'"),
    "signed pixels": (pickle.dumps({"labels": [1] * N, "data": PIXELS.view(np.int8)}, protocol=4), "no b'labels'"),
    "column order": (pickle.dumps({"labels": [1] * N, "data": np.asfortranarray(PIXELS)}, protocol=4), "no b'labels'"),
    "one axis": (pickle.dumps({"labels": [1], "data": PIXELS[0]}, protocol=4), "no b'labels'"),
}


@pytest.mark.parametrize(("content", "text"), WRONG.values(), ids=WRONG)
def test_other_pickles_are_refused(content, text):
    with pytest.raises(DataError, match=text) as caught:
        read_batch(content, "batch")
    assert "\n" not in str(caught.value)


def test_names_that_are_none_are_refused():
    with pytest.raises(DataError, match="no b'label_names' in it"):
        read_names(pickle.dumps({"label_names": 3}), "meta")

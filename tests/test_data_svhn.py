"""SVHN: the publisher's axes and labels, brought into ours."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.io import savemat

from holdfast.data import SETS, find, load
from holdfast.data.svhn import SVHN, parse_mat
from holdfast.errors import DataError

LABELS = np.array([10, 1, 9, 2, 10, 3, 4, 5, 6, 7, 8, 1, 2], np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3, len(LABELS))).astype(np.uint8)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Only what a test writes can be found, and nothing can be fetched."""
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("holdfast.data.loading.fetch", lambda *_, **__: None)


def mat(**arrays):
    file = io.BytesIO()
    savemat(file, arrays, do_compression=True)
    return file.getvalue()


def install(monkeypatch, folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        (folder / f"{part}_32x32.mat").write_bytes(content)
    digest = hashlib.md5(content).hexdigest()
    monkeypatch.setitem(SETS, "svhn", replace(SVHN, md5={"train": digest, "test": digest}))


@pytest.mark.parametrize("below", ["", "svhn", "SVHN"])
def test_a_file_reads_back(monkeypatch, tmp_path, below):
    install(monkeypatch, tmp_path / below, mat(X=PIXELS, y=LABELS[:, None]))
    test = load("svhn", data_dir=tmp_path)
    assert test.labels.tolist() == [0, 1, 9, 2, 0, 3, 4, 5, 6, 7, 8, 1, 2]
    for n, channel, row, column in [(0, 0, 0, 0), (4, 2, 31, 7), (12, 1, 3, 30)]:
        assert test.images[n, channel, row, column] == PIXELS[row, column, channel, n]
    assert test.shape == (3, 32, 32)
    assert test.images.is_contiguous()
    assert len(load("svhn", "train", data_dir=tmp_path)) == 11
    assert find("svhn", tmp_path) == tmp_path / below / "test_32x32.mat"


def test_another_file_is_refused_before_it_is_parsed(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, mat(X=PIXELS, y=LABELS[:, None]))
    (tmp_path / "test_32x32.mat").write_bytes(b"anything")
    with pytest.raises(
        DataError, match=r"test_32x32.mat': md5 of the file is [0-9a-f]{32}, not the published .*Delete"
    ):
        load("svhn", data_dir=tmp_path)


WRONG = {
    "no file": (b"", "not a whole .mat file"),
    "text": (b"hello" * 100, "not a whole .mat file"),
    "cut off": (mat(X=PIXELS, y=LABELS[:, None])[:5000], "not a whole .mat file"),
    "other names": (mat(Z=PIXELS), r"no X of \(32, 32, 3, N\) bytes"),
    "floats": (mat(X=PIXELS.astype(float), y=LABELS), r"no X of"),
    "pictures first": (mat(X=PIXELS.transpose(3, 0, 1, 2), y=LABELS), r"no X of"),
    "label 0": (mat(X=PIXELS, y=LABELS % 10), "13 labels for 13 pictures; allowed: one each, 1 to 10"),
    "label 11": (mat(X=PIXELS, y=LABELS + 1), "allowed: one each, 1 to 10"),
    "too few labels": (mat(X=PIXELS, y=LABELS[1:]), "12 labels for 13 pictures"),
}


@pytest.mark.parametrize(("content", "text"), WRONG.values(), ids=WRONG)
def test_other_files_are_refused(content, text):
    with pytest.raises(DataError, match=text) as caught:
        parse_mat(content, "f.mat")
    assert "f.mat" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_result_is_a_tensor_of_bytes():
    images, labels = parse_mat(mat(X=PIXELS, y=LABELS), "f.mat")
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64

"""Finding and naming sets: wrong names, wrong folders, what is here."""

import subprocess
import sys

import pytest

from holdfast.data import SETS, SPLITS, find, load, status
from holdfast.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Only what a test writes can be found, and nothing can be fetched."""
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("holdfast.data.loading.fetch", lambda *_, **__: None)


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(OptionError, match=r"unknown data set 'mnits'; known: cifar-10, digits.*Did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(OptionError, match="unknown data set 'cifar'"):
        find("cifar")


def test_a_bare_word_may_be_a_folder_here(tmp_path, monkeypatch):
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"'pets': no sub-folders"):
        load("pets")


@pytest.mark.parametrize("kind", ["missing", "file"])
@pytest.mark.parametrize("source", ["--data-dir", "HOLDFAST_DATA"])
def test_a_data_folder_that_is_none_is_named(tmp_path, monkeypatch, kind, source):
    path = tmp_path / "data"
    if kind == "file":
        path.write_text("x")
    if source == "HOLDFAST_DATA":
        monkeypatch.setenv(source, str(path))
    what = {"missing": "does not exist", "file": "is a file"}[kind]
    with pytest.raises(DataError, match=rf"{source} '.*data' {what}; allowed: a folder"):
        load("mnist", data_dir=path if source == "--data-dir" else None)


def test_digits_need_no_folder(tmp_path):
    assert len(load("digits", data_dir=tmp_path / "nowhere", limit=3)) == 3
    assert find("digits").name == "sklearn"


def test_nothing_is_found_where_nothing_is(tmp_path):
    (tmp_path / "mnist").mkdir()
    assert [name for name in SETS if find(name, tmp_path)] == ["digits"]
    records = {record.name: record for record in status(tmp_path)}
    assert list(records) == ["digits", "mnist", "fashion-mnist", "cifar-10", "svhn"]
    assert records["digits"].splits == {"train": 1293, "validation": 144, "test": 360}
    assert records["digits"].how == "comes with scikit-learn"
    assert records["cifar-10"].path is None
    assert records["cifar-10"].splits == {}
    assert records["cifar-10"].how == (
        "fetched when first used, or put cifar-10-binary.tar.gz into cifar-10/ under the data folder"
    )


def test_status_counts_the_parts_that_are_there(tmp_path):
    for name in ("train_32x32.mat", "cifar-10-python.tar.gz"):
        (tmp_path / name).touch()
    records = {record.name: record for record in status(tmp_path)}
    assert records["svhn"].splits == {"train": 65931, "validation": 7326}
    assert records["svhn"].path == tmp_path / "train_32x32.mat"
    assert records["cifar-10"].splits == {"train": 45000, "validation": 5000, "test": 10000}


def test_every_set_describes_itself():
    for name, known in SETS.items():
        assert known.name == name
        assert len(known.classes) == 10
        assert set(known.counts) == {"train", "test"}
        assert known.title
        assert all(len(d.md5) == 32 and d.urls for part in known.counts for d in known.downloads(part))
        assert set(SPLITS) == {"train", "validation", "test"}


def test_importing_loads_nothing_heavy():
    heavy = ["sklearn", "scipy", "PIL", "pooch", "requests"]
    code = f"import sys, holdfast.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

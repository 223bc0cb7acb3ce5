"""Files are there wholly or not at all."""

import json
import os

import pytest

from holdfast import files
from holdfast.errors import OptionError, RunError, unknown


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "deep" / "file"
    files.write_atomically(path, b"one")
    files.write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomically(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device.*Choose a folder"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError) as caught:
        files.write_atomically(tmp_path / "run" / "a", b"")
    assert "\n" not in str(caught.value)


def test_json_is_the_same_for_the_same_value():
    assert files.dump_json({"b": 1, "a": "ε"}) == files.dump_json({"a": "ε", "b": 1})
    assert json.loads(files.dump_json({"a": [1, 2.5, None]})) == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        files.dump_json({"a": float("nan")})


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert files.sha256(b"abc") == files.sha256_of_file(tmp_path / "a") == want


def test_unknown_names_the_nearest():
    error = unknown("attack", "pdg", ["pgd", "fgsm"])
    assert isinstance(error, OptionError)
    assert str(error) == "unknown attack 'pdg'; known: fgsm, pgd. Did you mean 'pgd'?"
    assert str(unknown("attack", "zzz", ["pgd"])) == "unknown attack 'zzz'; known: pgd."

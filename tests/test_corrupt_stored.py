"""Corrupted sets on disk: the same bits, whole files only, hashes that are checked; and the command for them."""

import json

import numpy as np
import pytest
import torch

from command_line import call
from holdfast.cli.corrupt import apart
from holdfast.corrupt import CORRUPTIONS, build, corrupted, stored
from holdfast.data import Pictures, load
from holdfast.errors import DataError, OptionError, RunError


@pytest.fixture
def pictures():
    generator = np.random.default_rng(0)
    return Pictures.from_arrays(generator.integers(0, 256, (11, 3, 16, 12), dtype=np.uint8), np.arange(11) % 3)


def written(pictures, folder, *names, **more):
    return stored.write(pictures, folder, [build(name) for name in names], **{"severities": (1, 4), "seed": 5, **more})


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_read_is_what_was_corrupted(pictures, tmp_path):
    some = pictures.take(slice(3, None))  # places begin at 3
    made = written(some, tmp_path / "set", "fog", "glass-blur")
    assert made.pairs == (("fog", 1), ("fog", 4), ("glass-blur", 1), ("glass-blur", 4))
    for name, severity in made.pairs:
        found = stored.read(tmp_path / "set", name, severity)
        exact = corrupted(some.x(), name, severity, seed=5, place=some.place)
        below = found.x(dtype=torch.float64)
        # Cut to the level below, as `numpy.uint8` cuts.
        assert (below <= exact + 1e-5).all()
        assert (exact - below < 1 / 255 + 1e-5).all()
        assert torch.equal(found.labels, some.labels)
        assert torch.equal(found.place, some.place)
        assert found.classes == some.classes


def test_levels_that_stay_are_not_cut_to_the_next(tmp_path):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    grey = Pictures.from_arrays(levels, [0], classes=["a", "b"])
    written(grey, tmp_path, "pixelate", severities=(1,))
    x = corrupted(grey.x(), "pixelate", 1, seed=5, place=grey.place)
    assert torch.equal(stored.read(tmp_path, "pixelate", 1).images, (x * 255).round().byte())


def test_arrays_are_laid_out_as_the_published_ones(pictures, tmp_path):
    written(pictures, tmp_path, "snow")
    array = np.load(tmp_path / "snow-4.npy", allow_pickle=False)
    assert (array.shape, array.dtype) == ((11, 16, 12, 3), np.uint8)
    assert np.load(tmp_path / "labels.npy").tolist() == pictures.labels.tolist()


def test_batches_do_not_matter_and_files_repeat(pictures, tmp_path):
    names = [name for name in CORRUPTIONS if name != "jpeg"]
    written(pictures, tmp_path / "whole", *names)
    written(pictures, tmp_path / "parts", *names, batch=3)
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "parts")


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(pictures, tmp_path):
    def kill(done, total, name):
        if name == "fog-4" and done % 11 == 8:
            raise Killed

    with pytest.raises(Killed):
        written(pictures, tmp_path / "set", "snow", "fog", batch=4, progress=kill)
    assert {"snow-1.npy", "snow-4.npy", "fog-1.npy"} <= set(bytes_of(tmp_path / "set"))
    assert not [name for name in bytes_of(tmp_path / "set") if "fog-4" in name]
    kept = (tmp_path / "set" / "snow-1.npy").stat().st_mtime_ns
    with pytest.raises(RunError, match=r"is not empty; allowed: a new folder. Pass --resume"):
        written(pictures, tmp_path / "set", "snow", "fog")
    written(pictures, tmp_path / "set", "snow", "fog", resume=True)
    assert (tmp_path / "set" / "snow-1.npy").stat().st_mtime_ns == kept
    written(pictures, tmp_path / "whole", "snow", "fog")
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "whole")


def test_a_damaged_file_is_refused_and_made_anew(pictures, tmp_path):
    written(pictures, tmp_path, "fog")
    whole = (tmp_path / "fog-4.npy").read_bytes()
    (tmp_path / "fog-4.npy").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"fog-4.npy.*: sha256 is .* the file was changed or damaged"):
        stored.read(tmp_path, "fog", 4)
    stored.read(tmp_path, "fog", 1)
    written(pictures, tmp_path, "fog", resume=True)
    assert (tmp_path / "fog-4.npy").read_bytes() == whole
    (tmp_path / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"labels.npy' is missing"):
        stored.read(tmp_path, "fog", 1)


def test_a_set_can_be_added_to_but_not_mixed(pictures, tmp_path):
    written(pictures, tmp_path, "fog")
    written(pictures, tmp_path, "snow", severities=(2,), resume=True)
    assert stored.describe(tmp_path).pairs == (("fog", 1), ("fog", 4), ("snow", 2))
    for other, what in (
        ({"seed": 6}, "seed was 5, now 6"),
        ({"table": "imagenet"}, "table was 'small', now 'imagenet'"),
    ):
        with pytest.raises(RunError, match=f"begun with other settings: {what}"):
            written(pictures, tmp_path, "snow", resume=True, **other)
    with pytest.raises(RunError, match=r"data\.sha256 was"):
        written(pictures.take(slice(0, 10)), tmp_path, "snow", resume=True)
    written(pictures, tmp_path, "glass-blur", severities=(2,), resume=True)
    with pytest.raises(RunError, match=r"glass-blur\.shuffle was 'copy', now 'swap'"):
        stored.write(pictures, tmp_path, [build("glass-blur", {"shuffle": "swap"})], seed=5, resume=True)


def test_what_cannot_be_is_told_before_anything_is_written(pictures, tmp_path):
    grey = Pictures.from_arrays(pictures.images[:, 0], pictures.labels)
    for refused in (
        lambda out: written(grey, out, "fog", "saturate"),
        lambda out: written(pictures, out, "fog", severities=(1, 6)),
        lambda out: written(pictures, out, "fog", severities=()),
        lambda out: written(pictures, out, "fog", "fog"),
        lambda out: written(pictures, out),
        lambda out: written(pictures, out, "fog", batch=0),
        lambda out: written(load("digits", limit=3), out, "glass-blur", severities=(5,), table="imagenet"),
    ):
        with pytest.raises(OptionError, match="allowed"):
            refused(tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_what_is_not_stored_is_told(pictures, tmp_path):
    with pytest.raises(DataError, match=r"since it has no corrupted\.json; allowed: a folder"):
        stored.describe(tmp_path)
    written(pictures, tmp_path, "fog")
    with pytest.raises(OptionError, match="unknown stored corruption 'fog-3'; known: fog-1, fog-4"):
        stored.read(tmp_path, "fog", 3)
    about = json.loads((tmp_path / "corrupted.json").read_text())
    (tmp_path / "corrupted.json").write_text(json.dumps({**about, "format": 2}))
    with pytest.raises(DataError, match=r"format 2 of corrupted.json; allowed: 1"):
        stored.read(tmp_path, "fog", 1)


# The command


def test_the_command_writes_what_the_function_writes(tmp_path):
    out = tmp_path / "set"
    line = "corrupt --data digits --limit 20 -c fog -c glass-blur:shuffle=swap --severity 2,5 --seed 3 --json --out"
    result = call(line, out)
    assert result.exit_code == 0, result.stderr
    plain = json.loads(result.stdout)
    assert plain["folder"] == str(out)
    assert plain["corruptions"] == {"fog": {}, "glass-blur": {"shuffle": "swap"}}
    records = [build("fog"), build("glass-blur", {"shuffle": "swap"})]
    made = stored.write(load("digits", limit=20), tmp_path / "own", records, (2, 5), seed=3)
    assert plain["files"] == made.files
    again = call(line, out)
    assert again.exit_code == 1
    assert "Pass --resume" in again.stderr
    assert call(f"{line} {out} --resume").exit_code == 0
    commas = line.replace("-c fog -c glass-blur", "-c fog,glass-blur")
    assert json.loads(call(commas, tmp_path / "commas").stdout)["files"] == made.files


def test_resuming_where_nothing_is_says_so(tmp_path):
    line = f"corrupt --data digits --limit 2 -c fog --severity 1 --out {tmp_path / 'set'} --resume"
    assert "note: nothing to resume in" in call(line).stderr
    assert "nothing to resume" not in call(line).stderr


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["fog,jpeg", "snow"], ["fog", "jpeg", "snow"]),
        (["fog, glass-blur:shuffle=swap ,frost"], ["fog", "glass-blur:shuffle=swap", "frost"]),
        (["a:b=1,c=2,d:e=3,f"], ["a:b=1,c=2", "d:e=3", "f"]),
        (["fog", "b=1"], ["fog", "b=1"]),
    ],
)
def test_names_stand_between_commas_with_their_options(texts, names):
    assert apart(texts) == names


def test_by_default_all_that_the_pictures_can_have(tmp_path):
    result = call("corrupt --data digits --limit 2 --severity 1 --quiet --out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert {name for name, _ in stored.describe(tmp_path).pairs} == set(CORRUPTIONS) - {"saturate"}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--severity 6", "severity=6; allowed: whole numbers from 1"),
        ("--severity x", "--severity 'x'; allowed: whole numbers from 1 to 5"),
        ("-c fogg", "unknown corruption 'fogg'"),
        ("-c fog:thick=3", "unknown option of Fog 'thick'; there is none. Leave it out."),
        ("-c saturate", "pictures have 1 channels; allowed: 3"),
        ("--table cifar", "unknown table of severities 'cifar'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(flags, told, tmp_path):
    result = call(f"corrupt --data digits --limit 2 {flags} --out", tmp_path / "set")
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "set").exists()


def test_corruptions_are_listed():
    result = call("list corruptions --json")
    listed = json.loads(result.stdout)["corruptions"]
    assert list(listed) == list(CORRUPTIONS)
    assert listed["glass-blur"]["options"][0]["name"] == "shuffle"

"""A run folder holds the same bytes however the run came about, and nothing is lost on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluate_models import digits, honest
from holdfast.attacks import PGD
from holdfast.errors import OptionError, RunError
from holdfast.evaluate import Meter, evaluate, merge, shards
from holdfast.evaluate.job import bounds, mine
from holdfast.evaluate.provenance import differences, repeatable
from holdfast.evaluate.run_folder import RunFolder
from holdfast.threats import Linf

ATTACK = PGD(steps=4, step_size=0.4)
N, SHARD = 60, 15  # four shards


def run(out=None, attack=ATTACK, model=None, pictures=None, **options):
    given = {"eps": [0.05, 0.1], "batch": 32, "shard_size": SHARD, "checks": False, **options}
    pictures = digits().take(slice(0, N)) if pictures is None else pictures
    return evaluate(model or honest(), pictures, Linf(eps=0.1), attack, out=out, **given)


def content(folder):
    """All files but timing.json by their path, with their bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "timing.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Stop(Exception):
    """Stands for a kill."""


class StopAt:
    """Progress that stops the run when the shard of this number begins."""

    def __init__(self, number):
        self.text = f"attacking shard {number} of"

    def update(self, done_pictures, total, text):
        if text.startswith(self.text):
            raise Stop


@pytest.fixture(scope="module")
def counted_whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    with Meter(honest()) as meter:
        run(folder, checks=True)
    return folder, meter


@pytest.fixture(scope="module")
def whole(counted_whole):
    return counted_whole[0]


def test_what_is_in_a_run_folder(whole):
    shard_files = [f"shards/{number:05d}.safetensors" for number in range(4)]
    expected = ["checks.json", "records.csv", "run.json", *shard_files, "summary.json"]
    assert sorted(content(whole)) == sorted(expected)
    made = json.loads((whole / "run.json").read_text())
    assert made["choices"] == {"batch": 32, "stand_in": None}
    assert made["options"]["threat"] == {"name": "linf", "eps": [0.05, 0.1], "low": 0.0, "high": 1.0}
    assert made["options"]["attack"]["options"]["steps"] == 4
    assert {"holdfast", "torch", "python", "platform", "device", "seed", "weights_sha256", "data_sha256"} <= set(
        made["provenance"]
    )
    timing = json.loads((whole / "timing.json").read_text())
    assert set(timing["attack_seconds"]) == {"00000", "00001", "00002", "00003"}
    assert timing["seconds"] >= sum(timing["attack_seconds"].values())


def test_shards_hold_what_was_returned(whole):
    joined = {}
    for number in range(4):
        shard = shards.decode(whole / "shards" / f"{number:05d}.safetensors", number)
        rows = slice(SHARD * number, SHARD * (number + 1))
        assert torch.equal(shard["x"], digits().images[rows])
        assert torch.equal(shard["index"], digits().place[rows])
        assert shard["success"].shape == shard["size"].shape == (2, SHARD)
        for e, eps in enumerate((0.05, 0.1)):
            x_adv, kept = shard[f"adv.{e}.x"], shard[f"adv.{e}.rows"]
            own = shard["success"][e] & (shard["prediction"] == shard["label"])
            assert kept.tolist() == own.nonzero().flatten().tolist()
            again = honest()(x_adv).argmax(1)
            assert torch.equal(again, shard["prediction_adv"][e][kept])
            assert (again != shard["label"][kept]).all()
            size = (x_adv.double() - digits().x(rows)[kept].double()).abs().flatten(1)
            assert not len(size) or size.amax() <= eps + 1e-7
        joined[number] = shard
    assert sum(len(shard["adv.1.rows"]) for shard in joined.values()) > 5


def test_two_runs_have_the_same_bytes(whole, tmp_path):
    run(tmp_path / "again", checks=True)
    assert content(tmp_path / "again") == content(whole)


def test_in_memory_and_on_disk_agree(whole):
    kept = run(checks=True)
    assert kept.run is None
    assert kept.summary == json.loads((whole / "summary.json").read_text())


@pytest.mark.parametrize("number", [1, 4])
def test_a_stopped_run_repeats_only_the_shards_in_flight(counted_whole, tmp_path, number):
    whole, all_at_once = counted_whole
    with Meter(honest()) as first, pytest.raises(Stop):
        run(tmp_path / "run", checks=True, progress=StopAt(number))
    with Meter(honest()) as second:
        run(tmp_path / "run", checks=True, resume=True)
    assert content(tmp_path / "run") == content(whole)
    begin = 9  # each start shows the model eight pictures, then one
    assert first.forward + second.forward == all_at_once.forward + begin
    assert first.backward + second.backward == all_at_once.backward
    assert second.forward < all_at_once.forward


def test_a_finished_run_is_not_repeated(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    with Meter(honest()) as meter:
        found = run(tmp_path / "run", checks=True, resume=True)
    assert meter.forward == 9
    assert content(tmp_path / "run") == content(whole)
    assert found.robust.n == N
    assert len(json.loads((tmp_path / "run" / "timing.json").read_text())["starts"]) == 2


SLOW_RUN = """
import sys, time, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from test_run_folder import run
class Slow:
    def update(self, done, total, text):
        print(text, flush=True)
        if text.startswith("attacking shard 3"):
            time.sleep(600)
run({folder!r}, checks=True, progress=Slow())
"""


def test_a_killed_process_is_resumed_to_the_same_bytes(whole, tmp_path):
    folder = tmp_path / "run"
    program = SLOW_RUN.format(tests=str(Path(__file__).parent), folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith("attacking shard 3"):
                    break
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in sorted((folder / "shards").iterdir())] == ["00000.safetensors", "00001.safetensors"]
    (folder / "shards" / ".00002.safetensors.abc.part").write_bytes(b"half a shard")  # as a kill while writing leaves
    model = honest()
    with Meter(model) as meter:
        run(folder, checks=True, resume=True)
    assert content(folder) == content(whole)
    repeated = [shards.decode(folder / "shards" / f"{n:05d}.safetensors", n) for n in (2, 3)]
    passes = sum(int(shard["forward"].sum()) + int(shard["counted"][:, 2].sum()) for shard in repeated)
    assert meter.forward == passes + 9


def test_a_kill_while_a_shard_is_written_leaves_no_part(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    folder = tmp_path / "run"
    with pytest.raises(Stop):
        run(folder, progress=StopAt(2))
    before = content(folder)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunError, match=r"cannot write .*timing.json': No space left|cannot write .*safetensors': No space"
    ):
        run(folder, resume=True)
    monkeypatch.undo()
    assert content(folder) == before
    run(folder, resume=True)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_shard_is_made_again(whole, tmp_path, damage, caplog):
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "shards" / "00001.safetensors"
    good = path.read_bytes()
    other = (path.parent / "00002.safetensors").read_bytes()
    flipped = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]
    path.write_bytes({"cut": good[:500], "flip": flipped, "empty": b"", "other": other}[damage])
    with pytest.raises(RunError, match="Delete"):
        shards.decode(path, 1)
    run(tmp_path / "run", checks=True, resume=True)
    assert content(tmp_path / "run") == content(whole)
    assert "is damaged: its pictures are attacked again" in caplog.text


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"attack": PGD(steps=5, step_size=0.4)}, "attack.options.steps was 4, now 5"),
        ({"eps": [0.05]}, r"threat.eps was \[0.05, 0.1\], now \[0.05\]"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"batch": 16}, "choices.batch was 32, now 16"),
        ({"shard_size": 30}, "shard_size was 15, now 30"),
        ({"checks": False}, "checks was True, now False"),
        ({"shard": (1, 2)}, r"shard was None, now \[1, 2\]"),
        ({"name": "other"}, "model was .*, now 'other'"),
        ({"pictures": digits().take(slice(1, N + 1))}, "data_sha256 was"),
        ({"pictures": digits().take(slice(0, 30))}, "data.n was 60, now 30"),
        ({"model": honest("linear")}, "weights_sha256 was"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_changed_option_is_not_resumed(whole, changed, says):
    before = content(whole)
    with pytest.raises(RunError, match=f"cannot resume .*{says}.*; allowed: .* choose another --out"):
        run(whole, resume=True, **{"checks": True, **changed})
    assert content(whole) == before


def test_a_measured_batch_is_taken_over(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "shards" / "00003.safetensors").unlink()
    run(tmp_path / "run", checks=True, batch="auto", resume=True)
    assert content(tmp_path / "run") == content(whole)


def test_a_folder_in_use_is_refused(whole, tmp_path):
    with pytest.raises(RunError, match=r"already holds a run; allowed: .* --resume"):
        run(whole)
    (tmp_path / "notes.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(RunError, match="not empty and holds no run"):
            run(tmp_path, resume=resume)
    with pytest.raises(RunError, match="is a file; a folder is needed"):
        run(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_resume_begins_where_there_is_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.xyz.part").write_bytes(b"{")  # a kill in the first moment
    run(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "cannot read"), ("[]", "an object is needed"), ('{"format": 99}', "has format 99; this version")],
)
def test_a_spoilt_run_json_is_told(tmp_path, text, says):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=says):
        run(tmp_path, resume=True)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/run/run.json': .* Choose a folder"):
        run(tmp_path / "file" / "run")


# Parts


def parts(folder, of, **options):
    for number in range(1, of + 1):
        run(folder / str(number), shard=(number, of), checks=True, **options)
    return [folder / str(number) for number in range(1, of + 1)]


@pytest.mark.parametrize("of", [2, 3])
def test_parts_merge_to_the_bytes_of_one_run(whole, tmp_path, of):
    made = parts(tmp_path, of)
    assert not (made[0] / "summary.json").exists()
    assert [(part / "checks.json").exists() for part in made] == [True] + [False] * (of - 1)
    found = merge(reversed(made), tmp_path / "all")
    assert content(tmp_path / "all") == content(whole)
    assert found.summary == json.loads((whole / "summary.json").read_text())
    assert found.seconds > 0


def test_a_part_tells_of_its_own_pictures_only():
    part = run(shard=(2, 2))
    assert part.robust.n == N // 2
    assert part.records["index"].tolist() == digits().place[15:30].tolist() + digits().place[45:60].tolist()


def test_parts_that_do_not_belong_together_are_refused(tmp_path, whole):
    first, second = parts(tmp_path, 2)
    run(tmp_path / "other", shard=(2, 2), checks=True, seed=5)
    run(tmp_path / "third", shard=(2, 3), checks=True)
    out = tmp_path / "all"
    with pytest.raises(RunError, match=r"given 1, 2/2 missing"):
        merge([first], out)
    with pytest.raises(RunError, match="given 0, all missing"):
        merge([], out)
    with pytest.raises(RunError, match=r"is part 1/2, given beside 1/2"):
        merge([first, first], out)
    with pytest.raises(RunError, match=r"is part 2/3, given beside 1/2"):
        merge([first, tmp_path / "third"], out)
    with pytest.raises(RunError, match=r"does not belong to .*: seed was 0, now 5"):
        merge([first, tmp_path / "other"], out)
    with pytest.raises(RunError, match="is a whole run, not a part"):
        merge([first, whole], out)
    with pytest.raises(RunError, match="does not exist; allowed: folders made by"):
        merge([first, tmp_path / "nowhere"], out)
    (second / "shards" / "00003.safetensors").unlink()
    with pytest.raises(RunError, match=r"00003.safetensors' is missing or damaged; .* --resume"):
        merge([first, second], out)
    assert not out.exists()
    run(second, shard=(2, 2), checks=True, resume=True)
    with pytest.raises(RunError, match="already holds a run"):
        merge([first, second], whole)


def test_a_part_with_nothing_to_do_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"shard 5/8 has nothing to do; shards in all: 4"):
        run(tmp_path / "run", shard=(5, 8))
    with pytest.raises(OptionError, match=r"shard 0/2; allowed: i/n with 1 <= i <= n"):
        run(tmp_path / "run", shard=(0, 2))
    assert not (tmp_path / "run").exists()


def test_shards_cover_all_pictures_once_and_are_even():
    for n in (1, 7, 1000, 1001, 2500):
        slices = bounds(n, 64, None)
        assert [i for rows in slices for i in range(rows.start, rows.stop)] == list(range(n))
        lengths = [rows.stop - rows.start for rows in slices]
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) <= 1000
    assert len(bounds(1000, 3 * 224 * 224, None)) == 10
    assert sorted(mine(7, (1, 3)) + mine(7, (2, 3)) + mine(7, (3, 3))) == list(range(7)) == mine(7, None)


# Small parts


def test_shard_files_are_the_same_bytes_every_time(tmp_path):
    shard = {"index": torch.arange(3), "x": torch.zeros(3, 1, 2, 2), "adv.0.rows": torch.zeros(0, dtype=torch.int64)}
    encoded = {shards.encode(dict(reversed(shard.items())), 7), shards.encode(shard, 7)}
    assert len(encoded) == 1
    (tmp_path / "s").write_bytes(encoded.pop())
    assert torch.equal(shards.decode(tmp_path / "s", 7)["index"], shard["index"])
    assert list(shards.read_records(tmp_path / "s")) == ["index"]
    assert shards.intact(tmp_path / "s", 7)
    assert not shards.intact(tmp_path / "s", 8)
    assert not shards.intact(tmp_path / "missing", 8)


def test_unknown_counts_stay_unknown():
    seen, unseen = torch.tensor([[5, 3, 2]]), torch.tensor([[-1, -1, 2]])
    assert shards.add_counts([seen, seen]).tolist() == [[10, 6, 4]]
    assert shards.add_counts([seen, unseen]).tolist() == [[-1, -1, 4]]


def test_a_command_line_is_kept_without_what_equal_runs_do_not_share():
    kept = ["holdfast", "evaluate", "--model", "m.py:f", "--seed", "3", "--eps", "0.1"]
    passing = ["--out=a", "--shard", "1/2", "-o", "b", "--resume", "--json", "--no-report"]
    assert repeatable([*kept[:4], *passing, *kept[4:]]) == kept


def test_differences_name_the_option():
    was = {"options": {"seed": 0, "attack": {"options": {"steps": 1}}}, "provenance": {"torch": "2", "python": "3"}}
    now = {"options": {"seed": 0, "attack": {"options": {"steps": 2}}}, "provenance": {"torch": "2", "python": "4"}}
    assert differences(was, now) == ["attack.options.steps was 1, now 2"]
    assert differences(was, now, ignore=["attack"]) == []


def test_a_resumed_run_keeps_its_first_command(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path / "run", progress=StopAt(2), command=["holdfast", "evaluate", "--out", "x"])
    run(tmp_path / "run", resume=True, command=["holdfast", "evaluate", "--out", "x", "--resume"])
    provenance = json.loads((tmp_path / "run" / "run.json").read_text())["provenance"]
    assert provenance["command"] == ["holdfast", "evaluate"]


def test_memory_does_not_grow_with_the_pictures():
    """The pictures in use at any time are those of one shard, whatever the number of shards."""

    class Largest(nn.Module):
        rows = 0

        def forward(self, x):
            Largest.rows = max(Largest.rows, x.untyped_storage().nbytes() // (64 * 4))
            return honest()(x)

    run(model=Largest(), batch=512)
    assert Largest.rows <= SHARD


def test_kept_records_are_small(whole):
    held = RunFolder(whole, {}).records(range(4))
    assert not any(name == "x" or name.startswith("adv.") for name in held)
    assert sum(tensor.numel() * tensor.element_size() for tensor in held.values()) < 300 * N


def test_seconds_add_up_over_starts(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path / "run", progress=StopAt(3))
    before = json.loads((tmp_path / "run" / "timing.json").read_text())
    time.sleep(0.01)
    found = run(tmp_path / "run", resume=True)
    after = json.loads((tmp_path / "run" / "timing.json").read_text())
    assert after["seconds"] > before["seconds"]
    assert found.seconds == after["seconds"]
    assert [start["resumed"] for start in after["starts"]] == [False, True]
    assert after["pictures"] == N


class Shifted(nn.Module):
    """The same weights, another function."""

    def __init__(self, scale):
        super().__init__()
        self.inner, self.scale = honest(), scale

    def forward(self, x):
        return self.inner((x - 0.5) * self.scale + 0.5)


def test_another_model_of_the_same_weights_is_not_resumed(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, model=Shifted(1.0), progress=StopAt(3))
    with pytest.raises(RunError, match="the model is another one: the largest logit of picture"):
        run(tmp_path, model=Shifted(0.9), resume=True)
    assert run(tmp_path, model=Shifted(1.0), resume=True).robust.n == N


def test_a_random_model_is_resumed(tmp_path):
    class Noisy(Shifted):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 10)

    with pytest.raises(Stop):
        run(tmp_path, model=Noisy(1.0), progress=StopAt(3))
    assert run(tmp_path, model=Noisy(1.0), resume=True).robust.n == N


def test_two_processes_do_not_share_a_folder(tmp_path):
    class Second:
        said = ""

        def update(self, done_pictures, total, text):
            if not self.said:
                with pytest.raises(RunError) as caught:
                    run(tmp_path, resume=True)
                self.said = str(caught.value)

    second = Second()
    run(tmp_path, progress=second)
    assert "another process is at work" in second.said
    assert run(tmp_path, resume=True).robust.n == N


def test_attacks_of_one_name_keep_their_options(tmp_path):
    run(tmp_path, attack=[PGD(steps=3), PGD(steps=7)])
    noted = json.loads((tmp_path / "run.json").read_text())["options"]["attack"]["options"]
    assert [(entry["name"], entry["steps"]) for entry in noted] == [("pgd", 3), ("pgd", 7)]

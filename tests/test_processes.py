"""Several processes make the run that one would make, share the work, and fail and end together."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Event

import pytest
import torch
from torch.distributed import TCPStore

from holdfast import processes, ranks
from holdfast.errors import FailedElsewhere, OptionError, RunError
from holdfast.evaluate.job import bounds
from holdfast.evaluate.sample import spent
from holdfast.processes import Alone, Several, joined, placed
from processes_worker import HELD
from test_run_folder import Stop, StopAt, content, run

TESTS = Path(__file__).parent
LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
COMMAND = ("-m", "holdfast", "evaluate", "--data", "digits", "--eps", "0.1", "--batch", "64", "--attack", "pgd")
FACTORY = """
import os, time
from pathlib import Path
import torch
from torch import nn
from holdfast import models

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.calls = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), 0
    def forward(self, x):
        self.calls += 1
        if Path("slow").exists() and self.calls > 60:
            Path(f"pid-{os.environ.get('RANK')}").write_text(str(os.getpid()))
            time.sleep(0.5)
        return self.inner(x)

def make():
    return Slow().eval()
"""


def launch(count, *words, **options):
    return subprocess.run(
        [*LAUNCH, str(count), *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=240, **options
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Run folders of one process, with the checks and without."""
    folder = tmp_path_factory.mktemp("alone")
    run(folder / "whole", checks=True)
    run(folder / "no-checks")
    run(folder / "in-reserve", attack=HELD, checks=True)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes told of the evaluations in processes_worker.py, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.raises(Stop):
        run(folder / "stopped", checks=True, progress=StopAt(3))
    done = launch(2, str(TESTS / "processes_worker.py"), str(folder))
    assert done.returncode == 0, done.stderr
    return folder, [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_two_processes_make_the_bytes_of_one(two, alone):
    assert content(two[0] / "whole") == content(alone / "whole")
    assert content(two[0] / "no-checks") == content(alone / "no-checks")
    assert content(two[0] / "in-reserve") == content(alone / "in-reserve"), "who waits for the checks waits alike"


@pytest.mark.parametrize("name", ["whole", "in memory", "no checks"])
def test_each_process_returns_the_whole_and_does_about_half(two, alone, name):
    folder = alone / ("no-checks" if name == "no checks" else "whole")
    told = [one[name] for one in two[1]]
    assert [one["summary"] for one in told] == [json.loads((folder / "summary.json").read_text())] * 2
    least = 0.35 if name == "no checks" else 0.0  # a check is made by one process, and few cost nearly all there is
    for kind in ("forward", "backward"):
        shares = [one[kind] / sum(other[kind] for other in told) for one in told]
        assert all(least < share < 1 - least for share in shares), (name, kind, shares)


def test_the_passes_of_each_process_are_on_record(two):
    folder, told = two
    timing = json.loads((folder / "no-checks" / "timing.json").read_text())
    (start,) = timing["starts"]
    assert [one["rank"] for one in start["processes"]] == [0, 1]
    for noted, counted in zip(start["processes"], told):
        # Hooks saw what was noted, and the verifier's own passes: three a picture and radius.
        assert noted["backward"] == counted["no checks"]["backward"]
        assert noted["forward"] < counted["no checks"]["forward"] <= noted["forward"] + 2 * 3 * noted["pictures"] + 9
    shards = [set(one["attack_seconds"]) for one in start["processes"]]
    assert not shards[0] & shards[1]
    assert shards[0] | shards[1] == set(timing["attack_seconds"]) == {"00000", "00001", "00002", "00003"}
    passes = json.loads((folder / "no-checks" / "summary.json").read_text())["passes"]
    assert sum(one["forward"] for one in start["processes"]) == passes["forward"]


def test_a_run_of_one_process_is_resumed_by_two(two, alone):
    assert content(two[0] / "stopped") == content(alone / "whole")
    first, second = json.loads((two[0] / "stopped" / "timing.json").read_text())["starts"]
    assert [len(first["processes"]), len(second["processes"])] == [1, 2]
    assert sum(one["pictures"] for one in second["processes"]) == 30


@pytest.mark.parametrize(("name", "rank"), [("fails", 1), ("fails at first", 0)])
def test_the_failure_of_one_ends_all(two, name, rank):
    told = [one[name] for one in two[1]]
    assert told[rank]["error"] == "HoldfastError"
    assert told[rank]["text"] == "this one gave up"
    assert told[1 - rank]["error"] == "FailedElsewhere"
    assert told[1 - rank]["text"] == f"rank {rank} of 2 failed: this one gave up"


def test_processes_with_other_models_are_refused(two):
    told = [one["another model"] for one in two[1]]
    assert re.search(
        "rank 1 of 2 is not given what rank 0 is: weights_sha256 was .* allowed: the same", told[1]["text"]
    )
    assert told[0]["text"].startswith("rank 1 of 2 failed: ")


def test_a_folder_in_use_is_told_by_the_first_process(two):
    first, second = (one["in use"] for one in two[1])
    assert "already holds a run" in first["text"]
    assert second["error"] == "FailedElsewhere"


# The command


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.py").write_text(FACTORY)
    return ("--model", "net.py:make")


def killed(tmp_path, words, victim):
    """Launch two processes, kill one of them or the launcher and both at a moment when some shards are done."""
    (tmp_path / "slow").write_text("")
    with subprocess.Popen([*LAUNCH, "2", *words], stderr=subprocess.PIPE, cwd=tmp_path, env=ENVIRONMENT) as process:
        limit = time.monotonic() + 60
        while not (list(tmp_path.glob("pid-*"))[1:] and list(tmp_path.glob("run/shards/0*"))):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < limit
            time.sleep(0.05)
        pids = [int((tmp_path / f"pid-{rank}").read_text()) for rank in range(2)]
        for pid in [pids[1]] if victim == "one" else [process.pid, *pids]:
            os.kill(pid, signal.SIGKILL)
        process.stderr.read()
        assert process.wait(60) != 0
    (tmp_path / "slow").unlink()


def told_by(done):
    """Lines on stderr that are holdfast's, not the launcher's."""
    return [line for line in done.stderr.splitlines() if line.startswith(("error", "warning", "note", "interrupted"))]


def test_a_gate_is_told_once_and_results_are_shown_once(tmp_path, model):
    words = (*COMMAND, *model, "--limit", "130", "--no-checks", "--json", "--at-least", "0.9", "--out", "run")
    done = launch(2, *words, cwd=tmp_path)
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert shown["robust"]["n"] == 130
    assert (tmp_path / shown["report"]).exists()
    (line,) = told_by(done)
    assert line.startswith("error: robust accuracy at linf 0.1 is ")
    assert "holdfast/evaluate" not in done.stderr  # no traceback but the launcher's own


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["one", "all"])
def test_killed_processes_are_resumed_by_another_number(tmp_path, model, victim):
    words = (*COMMAND, *model, "--shard-size", "30", "--no-report", "--no-checks")
    killed(tmp_path, (*words, "--out", "run"), victim)
    assert not (tmp_path / "run" / "summary.json").exists()
    for count, folder, more in ((1, "whole", ()), (3, "run", ("--resume",))):
        done = launch(count, *words, "--out", folder, *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    # What a process did just before the kill may not have reached the first one, so the earlier start says less.
    last = json.loads((tmp_path / "run" / "timing.json").read_text())["starts"][-1]
    assert last["resumed"]
    assert [one["rank"] for one in last["processes"]] == [0, 1, 2]
    assert 0 < sum(len(one["attack_seconds"]) for one in last["processes"]) < 12


@pytest.mark.slow
def test_wrong_usage_is_told_once(tmp_path, model):
    done = launch(2, *COMMAND, *model, "--threat", "l7", cwd=tmp_path)
    assert done.returncode == 1  # the launcher's own
    (line,) = told_by(done)
    assert re.match(r"error: (rank 1 of 2: )?unknown threat 'l7'", line)
    assert re.search(r"exitcode\s*: 2", done.stderr)


# Small parts, in one process


@pytest.fixture
def stores():
    """Two clients of one store."""
    server = TCPStore("localhost", 0, None, True, timedelta(seconds=10), False)
    return [server, TCPStore("localhost", server.port, None, False, timedelta(seconds=10))]


def both(stores, work):
    """What `work` returns in each of two processes, here threads."""

    def one(rank):
        return work(Several(rank, 2, stores[rank]))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


def test_each_number_is_dealt_once(stores):
    together = Barrier(2)

    def work(here):
        took = []
        for number in here.deal("shards", range(1, 11)):
            took.append(number)
            together.wait(60)
        here.part()
        return took

    assert both(stores, work) == [[1, 3, 5, 7, 9], [2, 4, 6, 8, 10]]


def slow_second(take):
    """Work of which the second process does one piece in the time the first one needs for all that is left to it."""
    begun, over = Event(), Event()

    def work(here):
        took = []
        if here.rank == 0:
            assert begun.wait(60)
        for number in take(here):
            took.append(number)
            if here.rank == 1:
                begun.set()
                assert over.wait(60)
        over.set()
        here.part()
        return took

    return work


def test_what_a_slow_process_is_far_from_is_dealt_to_others(stores, monkeypatch):
    monkeypatch.setattr(processes, "PAUSE", 0.1)
    first, second = both(stores, slow_second(lambda here: here.deal("shards", range(1, 11))))
    assert first == [1, 3, 5, 7, 9, 10, 8, 6]
    assert second == [2, 4]  # the next one is left to it


def test_who_is_free_draws_the_next(stores):
    first, second = both(stores, slow_second(lambda here: here.draw("checks", range(8))))
    assert (first, second) == ([1, 2, 3, 4, 5, 6, 7], [0])


def test_what_is_agreed_and_told_is_heard_by_all(stores):
    def work(here):
        agreed = [here.agree(lambda: [here.rank, "a"]), here.agree(lambda: {"b": here.rank})]
        here.tell(f"large {here.rank}", bytes([here.rank + 1]) * (processes.PIECE + 7))
        heard = here.wait_for(f"large {1 - here.rank}")
        here.part()
        return agreed, heard

    for rank, (agreed, heard) in enumerate(both(stores, work)):
        assert agreed == [[0, "a"], {"b": 0}]
        assert heard == bytes([2 - rank]) * (processes.PIECE + 7)


def test_a_failure_is_heard_and_told_by_one(stores, monkeypatch):
    monkeypatch.setattr(processes, "SILENCE", 3.0)

    def work(here):
        if here.rank == 1:
            here.fail(OptionError("not that"))
            return here.fails_first()
        with pytest.raises(FailedElsewhere, match=r"^rank 1 of 2 failed: not that$") as caught:
            here.wait_for("nothing")
        here.fail(caught.value)
        assert caught.value.usage
        return here.fails_first()

    assert both(stores, work) == [False, True]


def test_a_process_that_falls_silent_is_noticed(stores, monkeypatch):
    monkeypatch.setattr(processes, "SILENCE", 0.5)
    monkeypatch.setattr(processes, "GLANCE", 0.05)
    silent = Several(1, 2, stores[1])
    silent._over.set()  # as a kill would
    with pytest.raises(RunError, match=r"rank 1 of 2 has given no sign of life for 0 s; .* --resume"):
        Several(0, 2, stores[0]).wait_for("nothing")


def test_a_store_that_is_gone_is_told():
    class Gone:
        def add(self, *given):
            raise RuntimeError("Connection reset by peer")

    with pytest.raises(RunError, match=r"rank 1 of 2 has lost contact with rank 0.* --resume"):
        Several(1, 2, Gone())


def test_one_process_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # without the rest, nobody has launched anything
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with joined(torch.device("cpu")) as here:
        assert isinstance(here, Alone)
        assert list(here.deal("shards", [4, 2])) == [4, 2]


@pytest.fixture
def launched(monkeypatch):
    """As if torchrun had launched this process as the second of two."""
    for name, value in {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert ranks.named() == "rank 1 of 2"


@pytest.mark.usefixtures("launched")
def test_parts_and_processes_are_not_mixed():
    with pytest.raises(OptionError, match=r"shard 1/2 with 2 processes; allowed: one of the two"):
        run(shard=(1, 2))


@pytest.mark.usefixtures("launched")
def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placed(torch.device("cpu")) == torch.device("cpu")
    assert placed(torch.device("cuda")) == torch.device("cuda:1")
    with pytest.raises(OptionError, match="device 'cuda:0' for 2 processes; allowed: auto, cuda or cpu"):
        placed(torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(OptionError, match=r"2 processes on a machine with 1 GPUs; .*--nproc-per-node 1"):
        placed(torch.device("cuda"))


def test_what_checks_share_is_counted_once():
    one = {"forward": 30, "backward": 10, "shared": {"logits": (8, 0), "pgd": (12, 9)}}
    other = {"forward": 25, "backward": 20, "shared": {"logits": (8, 0), "noise": (5, 0)}}
    assert spent([one]) == {"forward": 30, "backward": 10}
    assert spent([one, other]) == {"forward": 30 + 25 - 8, "backward": 30}


def test_shards_are_even_for_two_four_and_eight_processes():
    for n, count in ((63, 1), (127, 1), (128, 2), (255, 2), (256, 4), (360, 4), (512, 8), (9000, 16), (10_000, 16)):
        assert len(bounds(n, 64, None)) == count
    assert len(bounds(20, 2**24, None)) == 20
    assert len(bounds(1000, 64, 500)) == 2

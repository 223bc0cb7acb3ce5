"""Two processes train as one would: the same batches, the same curve, the same weights up to rounding."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import train_worker
from holdfast.train import world
from holdfast.train.cut import pieces
from holdfast.train.world import Alone, Together, buckets, largest_of
from test_processes import ENVIRONMENT, launch

WORKER = str(Path(train_worker.__file__))
NOISE = 2e-6  # of float32, relative to the largest weight of a tensor, after two epochs; measured: up to 3e-7


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train_worker.main(folder)
    return torch.load(folder / "rank-0.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    done = launch(2, WORKER, str(folder))
    assert done.returncode == 0, done.stderr
    return folder, [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


def apart(weights, others):
    """The largest difference of any tensor, relative to its largest number."""
    assert weights.keys() == others.keys()
    return max(
        ((weights[name] - others[name]).abs().max() / weights[name].abs().max().clamp(min=1e-9)).item()
        for name in weights
    )


@pytest.mark.parametrize("name", train_worker.SAME)
def test_two_processes_train_as_one(one, two, name):
    first, second = (told[name] for told in two[1])
    assert all(torch.equal(first["weights"][key], second["weights"][key]) for key in first["weights"])
    assert first["history"] == second["history"]
    alone = one[name]
    assert apart(alone["weights"], first["weights"]) < NOISE
    for epoch, other in zip(alone["history"], first["history"], strict=True):
        assert other["loss"] == pytest.approx(epoch["loss"], rel=1e-6)
        for counted in ("train", "validation", "robust", "learning_rate"):
            assert other[counted] == epoch[counted]
        counted = [there / here for there, here in zip(other["passes"], epoch["passes"], strict=True)]
        spare = 1.06 if name in ("one idle", "part by part") else 1.0  # what is done in the place of nothing
        assert all(1 <= one <= spare for one in counted), "all pictures have their passes, and no others"
    assert alone["history"][-1]["loss"] < alone["history"][0]["loss"]


def test_statistics_are_those_of_parts_one_after_the_other(one, two):
    alone, first = one["odd"]["weights"], two[1][0]["odd"]["weights"]
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(first[f"inner.2.{name}"], alone[f"inner.2.{name}"])
    assert first["inner.2.num_batches_tracked"] == 2 * (6 * 4 + 2)


def test_weights_of_no_seed_are_the_first_ones(one, two):
    first, second = (told["odd"]["weights"] for told in two[1])
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert apart(*({n: w for n, w in m.items() if "spare" not in n} for m in (one["odd"]["weights"], first))) < NOISE


ENDS = {
    "fails": "this one gave up",
    "other seeds": "rank 1 of 2 is not given what rank 0 is: seed was 0, now 1; allowed: the same",
}


@pytest.mark.parametrize(("name", "text"), ENDS.items(), ids=ENDS)
def test_the_failure_of_one_ends_both(two, name, text):
    first, second = (told[name] for told in two[1])
    assert first["error"] == "FailedElsewhere"
    assert second["error"] != "FailedElsewhere"
    assert text in second["text"]
    assert first["text"] == f"rank 1 of 2 failed: {second['text']}"


def test_a_loss_that_breaks_in_one_is_named_by_both(two):
    for told in two[1]:
        assert told["not a number"]["error"] == "ModelError"
        assert (
            "the loss is no longer finite at step 3 of 7 in epoch 1, on the pictures at "
            in told["not a number"]["text"]
        )


def test_a_batch_that_cannot_be_shared_is_refused(two):
    for told in two[1]:
        assert told["uneven"]["error"] == "OptionError"
        assert "batch=24 with ghost=8 and 2 processes; allowed: multiples of 16" in told["uneven"]["text"]
        assert "Pass batch=16" in told["uneven"]["text"]


def test_a_run_that_was_stopped_in_an_epoch_goes_on_to_the_same_weights(two):
    folder, told = two
    assert [one["stopped"]["error"] for one in told] == ["Kill", "FailedElsewhere"]
    for one in told:
        whole, again = one["batch norm against"], one["resumed"]
        assert all(torch.equal(whole["weights"][name], again["weights"][name]) for name in whole["weights"])
        for epoch, other in zip(whole["history"], again["history"], strict=True):
            assert other["loss"] == pytest.approx(epoch["loss"], rel=1e-12)
            assert {**other, "loss": 0.0} == {**epoch, "loss": 0.0}
    assert told[0]["resumed"]["seen"] == [203 + 5 * 32], "the state was kept after four steps of the second epoch"
    assert told[1]["resumed"]["seen"] == [], "the first process tells how far it is"
    assert [len(start["seconds"]) for start in json.loads((folder / "run" / "timing.json").read_text())["starts"]] == [
        1,
        1,
    ]


def test_a_finished_run_is_returned_by_both(two):
    for one in two[1]:
        assert one["finished"]["history"] == one["resumed"]["history"]
        assert apart(one["finished"]["weights"], one["resumed"]["weights"]) == 0
        assert one["finished"]["seen"] == []


def test_a_process_that_is_killed_ends_the_other():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    named = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    started = [
        subprocess.Popen(  # not by a launcher, which would end the other itself
            [sys.executable, WORKER, "none", "dies"],
            env={**ENVIRONMENT, **{name: str(value) for name, value in {**named, **of}.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for of in ({"RANK": 0, "LOCAL_RANK": 0}, {"RANK": 1, "LOCAL_RANK": 1})
    ]
    (said, trouble), _ = (process.communicate(timeout=120) for process in started)
    assert [process.returncode for process in started] == [0, -9], trouble
    assert said.startswith("rank 0 of 2 has lost contact with another one, which was killed"), trouble
    assert "--resume" in said


# Small parts, in one process


class Here:
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@given(count=st.integers(1, 70), unit=st.integers(1, 20), size=st.integers(1, 5))
def test_each_picture_of_a_batch_falls_to_one_process(count, unit, size):
    rows = torch.arange(count)
    parts = [rows[Together(Here(rank, size), torch.device("cpu"), None).part(count, unit)] for rank in range(size)]
    assert torch.equal(torch.cat(parts), rows)
    assert [len(piece) for part in parts if len(part) for piece in pieces(part, unit)] == [
        len(piece) for piece in pieces(rows, unit)
    ], "what batch norm takes together stays together"


@given(count=st.integers(2, 70), size=st.integers(2, 20))
def test_no_piece_is_a_single_picture(count, size):
    cut = pieces(torch.arange(count), size)
    assert torch.equal(torch.cat(cut), torch.arange(count))
    assert all(2 <= len(piece) <= size + 1 for piece in cut)


def test_gradients_go_in_buckets_of_one_type(monkeypatch):
    monkeypatch.setattr(world, "BUCKET", 10)
    of = [torch.zeros(4), torch.zeros(6), torch.zeros(1), torch.zeros(25), torch.zeros(2), torch.zeros(2).double()]
    assert [[len(one) for one in bucket] for bucket in buckets(of)] == [[4, 6], [1], [25], [2], [2]]
    assert list(buckets([])) == []


def test_one_process_asks_nobody():
    rows = torch.arange(5)
    alone = Alone()
    assert alone.part(5, 2) == slice(0, 5)
    assert alone.total(rows) is rows
    assert alone.share(lambda: "made") == "made"
    assert largest_of(alone, torch.tensor([1.0, 3.0])) == 3
    assert largest_of(alone, torch.zeros(0)) == -torch.inf

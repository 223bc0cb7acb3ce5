"""Reading run folders: every kind of bad folder gets one clear line, and records come back as they were written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluate_models import digits, honest
from holdfast import report
from holdfast.attacks import PGD
from holdfast.errors import RunError
from holdfast.evaluate import evaluate
from holdfast.report.records import read_records
from holdfast.report.recount import disagreements
from holdfast.report.run import read
from holdfast.threats import Linf
from report_fixtures import Fake, adversarial, records, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def refused(runs):
    with pytest.raises(RunError) as caught:
        report.render(runs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_run_given():
    assert "name at least one run folder" in refused([])


def test_a_file_instead_of_a_folder(folder):
    assert "is a file; a run folder is needed" in refused([folder / "run.json"])


def test_nothing_there(tmp_path):
    said = refused([tmp_path / "lost"])
    assert "does not exist" in said
    assert "holdfast evaluate" in said


def test_a_folder_that_is_no_run_names_the_runs_inside(folder):
    assert f"Inside it are runs: {folder}." in refused([folder.parent])
    assert "Inside" not in refused([folder / "shards"])


def test_an_unfinished_run_says_how_to_finish_it(folder):
    (folder / "summary.json").unlink()
    said = refused([folder])
    assert "is not finished" in said
    assert (
        f"Finish it with: holdfast evaluate --model cnn --data synthetic --threat linf --eps 2/255,4/255,8/255 \
--attack pgd --set steps=40 --out {folder} --resume"
        in said
    )
    (folder / "run.json").write_text("{}")
    assert f"holdfast evaluate ... --out {folder} --resume" in refused([folder])


def test_a_part_of_a_run_is_to_be_merged(folder):
    (folder / "summary.json").unlink()
    (folder / "run.json").write_text(json.dumps({"options": {"shard": [1, 2]}}))
    assert "is part 1/2 of a run; a report needs the whole: `holdfast merge" in refused([folder])


def test_another_format(folder):
    (folder / "summary.json").write_text('{"format": 7}')
    assert "has format 7; this version reads format 1" in refused([folder])


@pytest.mark.parametrize("key", ["clean", "robust", "curve", "believe", "data"])
def test_a_summary_that_lacks_something(folder, key):
    told = json.loads((folder / "summary.json").read_text())
    del told[key]
    (folder / "summary.json").write_text(json.dumps(told))
    assert f"lacks {key}." in refused([folder])


def test_a_rate_that_lacks_something(folder):
    told = json.loads((folder / "summary.json").read_text())
    del told["curve"][1]["robust"]["high"]
    (folder / "summary.json").write_text(json.dumps(told))
    assert "lacks high." in refused([folder])


def test_an_unknown_verdict(folder):
    told = json.loads((folder / "summary.json").read_text())
    told["checks"][0]["verdict"] = "perhaps"
    (folder / "summary.json").write_text(json.dumps(told))
    assert "lacks a known verdict for 'perhaps'" in refused([folder])


@pytest.mark.parametrize("name", ["run.json", "summary.json", "timing.json"])
@pytest.mark.parametrize("content", ["{", "[1]", "\udcff"])
def test_a_damaged_file(folder, name, content):
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    said = refused([folder])
    assert name in said
    assert "cannot read" in said or "an object is needed" in said


def test_a_damaged_shard(folder):
    shard = folder / "shards" / "00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:100])
    said = refused([folder])
    assert f"cannot read shard {str(shard)!r}" in said
    assert "--resume" in said


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda part: part.pop("label"), "it lacks label"),
        (lambda part: part.update(broken=part["broken"][:1]), "broken has shape (1, 25), expected (3, 25)"),
    ],
)
def test_a_shard_that_is_not_one(folder, edit, said):
    path = folder / "shards" / "00000.safetensors"
    part = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(part)
    save_file({name: tensor.contiguous() for name, tensor in part.items()}, path)
    assert said in refused([folder])


@pytest.mark.parametrize("reverse", [False, True])
def test_records_come_back_in_order(tmp_path, reverse):
    fake = Fake(reverse=reverse)
    whole = records(fake)
    back = read_records(write_run(tmp_path / "run", fake) / "shards", 3)
    order = slice(None, None, -1 if reverse else 1)
    assert back.columns["index"].tolist() == list(range(fake.n))
    for name in ("label", "prediction", "confidence"):
        np.testing.assert_array_equal(back.columns[name], whole[name][order])
    for name, table in back.tables.items():
        np.testing.assert_array_equal(table, whole[name][:, order])
    for picture in range(fake.n):
        np.testing.assert_array_equal(back.original(picture), whole["x"][order][picture])


@pytest.mark.parametrize("reverse", [False, True])
def test_adversarial_pictures_belong_to_their_originals(tmp_path, reverse):
    fake = Fake(reverse=reverse)
    back = read_records(write_run(tmp_path / "run", fake) / "shards", 3)
    whole = records(fake)
    right = whole["prediction"] == whole["label"]
    for eps, radius in enumerate(fake.eps):
        for row in range(fake.n):
            picture = fake.n - 1 - row if reverse else row
            found = back.adversarial(picture, eps)
            assert (found is not None) == (right[row] and whole["success"][eps, row])
            if found is not None:
                np.testing.assert_array_equal(found, adversarial(whole, eps, radius, np.array([row]))[0])


def test_half_precision_pictures_are_read(folder):
    path = folder / "shards" / "00000.safetensors"
    part = {
        n: t.to(torch.bfloat16) if n.startswith("adv.") and n.endswith("x") else t for n, t in load_file(path).items()
    }
    save_file(part, path)
    assert "adversarial" in report.render([folder])


def test_first_eps_is_the_smallest_that_breaks(folder):
    back, whole = read(folder).records, records(Fake())
    for picture, first in enumerate(back.first_eps()):
        right = whole["label"][picture] == whole["prediction"][picture]
        hits = np.flatnonzero(whole["success"][:, picture]) if right else []
        assert first == (hits[0] if len(hits) else -1)


def test_broken_stays_broken_and_leaves_out_what_was_wrong(folder):
    back = read(folder).records
    assert (back.broken[1] >= back.broken[0]).all()
    assert not back.broken[:, ~back.right].any()


def test_recount_agrees_with_a_right_summary_and_sees_every_count(folder):
    run = read(folder)
    assert disagreements(run.summary, run.records) == []
    told = json.loads((folder / "summary.json").read_text())
    told["confusion"]["before"][0][1] += 1
    told["clean"]["n"] += 1
    found = disagreements(told, run.records)
    assert found == [
        "pictures: summary 61, records 60",
        "confusions before the attack that differ: summary 0, records 1",
    ]
    fewer = replace(run.records, tables={**run.records.tables, "broken": np.zeros((3, 60), bool)})
    assert len(disagreements(run.summary, fewer)) == 4


def test_a_shard_changed_afterwards_is_told(tmp_path):
    evaluate(honest(), digits().take(slice(0, 20)), Linf(eps=0.1), PGD(steps=2), out=tmp_path, checks=False)
    path = tmp_path / "shards" / "00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="does not match its hash"):
        report.render([tmp_path])

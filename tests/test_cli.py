"""Every sub-command does its work, prints results on stdout alone, and its JSON is one object and nothing else."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import holdfast
from command_line import call, done, plain
from holdfast import data, models
from holdfast.attacks import ATTACKS
from holdfast.data import SETS
from holdfast.extract import UNIVERSAL
from holdfast.models import ARCHITECTURES
from holdfast.threats import THREATS
from holdfast.train import TrainOptions

QUICK = "--threat linf --attack pgd --set steps=3 --no-checks --no-report"
COMMANDS = (
    "demo",
    "train",
    "ensemble",
    "evaluate",
    "calibrate",
    "attack",
    "ood",
    "transfer",
    "substitute",
    "universal",
    "corrupt",
    "report",
    "merge",
    "list",
    "data",
    "doctor",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model folder that `train` wrote."""
    out = tmp_path_factory.mktemp("train") / "plain"
    done("train --data digits --model mlp --model-set hidden=32 --epochs 6 --batch 32 --limit 300 --out", out)
    return out


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """A finished run of `evaluate`, with checks and report, and what it printed as JSON."""
    out = tmp_path_factory.mktemp("evaluate") / "run"
    line = "evaluate --data digits --limit 40 --eps 0.05,0.1 --attack pgd --set steps=3"
    return out, plain(line, "--model", trained, "--out", out)


# Train


def test_train_writes_a_model_and_its_scores(tmp_path):
    out = tmp_path / "run"
    line = "train --data digits --model cnn --model-set width=0.5 --epochs 2 --limit 100 --batch 50"
    line += " --train-set optimiser=sgd"
    result = plain(line, "--seed", 3, "--out", out)
    assert result["run"] == str(out)
    assert set(result["validation"]) == {"k", "n", "rate", "low", "high"}
    assert result["robust"] is None
    assert len(result["history"]) == 2
    recipe = models.load(out)[1].training["recipe"]
    assert (recipe["options"]["optimiser"], recipe["seed"], recipe["adversary"]) == ("sgd", 3, None)
    assert result["card"]["options"]["width"] == 0.5
    assert models.load(out)[1].mean == holdfast.train.statistics(data.load("digits", "train", limit=100))[0]


def test_train_writes_a_page_unless_told_not_to(tmp_path):
    line = "train --data digits --model linear --epochs 1 --limit 60 --batch 30 --out"
    result = plain(line, tmp_path / "run")
    assert result["report"] == str(tmp_path / "run" / "report.html")
    html = (tmp_path / "run" / "report.html").read_text()
    count = result["validation"]
    assert f"{count['k']} of {count['n']}" in html
    assert plain("report", tmp_path / "run", "--out", tmp_path / "page.html")["report"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == html
    assert plain(line, tmp_path / "other", "--no-report")["report"] is None
    assert not (tmp_path / "other" / "report.html").exists()
    again = done(line, tmp_path / "run", "--resume")
    assert f"report: {tmp_path / 'run' / 'report.html'}" in again.stdout
    assert "nothing to resume" not in again.stderr


def test_resuming_a_training_that_never_began_begins_it_and_says_so(tmp_path):
    line = "train --data digits --model linear --epochs 1 --limit 60 --batch 30 --resume --out"
    assert (
        f"note: nothing to resume in '{tmp_path / 'run'}'; the run begins there" in done(line, tmp_path / "run").stderr
    )


def test_train_tells_the_scores_of_the_weights_it_keeps(tmp_path):
    line = "train --data digits --model linear --epochs 5 --limit 60 --batch 30 --lr 3 --train-set watch=validation"
    result = plain(line, "--train-set", "schedule=constant", "--seed", 3, "--out", tmp_path / "run")
    right = [epoch["validation"]["k"] for epoch in result["history"]]
    assert right[-1] < max(right)  # else this would tell nothing
    assert result["validation"]["k"] == result["card"]["training"]["scores"]["validation"]["k"] == max(right)


def test_train_adversarially(tmp_path):
    line = (
        "train --data digits --model linear --adversarial pgd --threat l2 --eps 1/2 --set steps=2 --epochs 1 "
        "--limit 60 --batch 30 --train-set attacked=20 --no-normalize"
    )
    result = plain(line, "--out", tmp_path / "run")
    assert result["robust"]["n"] == 20
    adversary = result["card"]["training"]["recipe"]["adversary"]
    assert adversary["threat"] == {"name": "l2", "eps": 0.5, "low": 0.0, "high": 1.0}
    assert (adversary["attack"]["steps"], adversary["attack"]["step_size"]) == (2, 0.25)
    assert result["card"]["mean"] is None


def test_what_comes_next_after_a_training_can_be_typed(tmp_path):
    """A folder with a space in its name, pictures resized, and a box of its own."""
    for name in ("a", "b"):
        place = tmp_path / "my pictures" / "train" / name
        place.mkdir(parents=True)
        for number in range(4):
            Image.new("L", (12, 12), 100 + 20 * number).save(place / f"{number}.png")
    shutil.copytree(tmp_path / "my pictures" / "train", tmp_path / "my pictures" / "test")
    line = f"train --data '{tmp_path}/my pictures' --resize 8 --model linear --epochs 1 --batch 4 --no-validation"
    line += f" --adversarial pgd --eps 0.1 --low 0.1 --out '{tmp_path}/my run' --no-report"
    told = done(line).stdout.rpartition("next: holdfast ")[2].strip()
    assert "--resize 8 --low 0.1 --eps 0.1" in told
    done(told, "--limit", 2, "--attack", "fgsm", "--no-checks", "--no-report", "--out", tmp_path / "evaluated")
    again = done(line, "--resume").stdout
    assert "1 epoch; this call took" in again


def test_train_tells_people_each_epoch_and_what_next(tmp_path):
    result = done("train --data digits --model linear --epochs 2 --limit 60 --batch 30 --out", tmp_path / "run")
    assert "epoch 2 of 2: loss" in result.stderr
    assert "training: 30 of 120 pictures" in result.stderr
    assert "trained linear on digits: 2 epochs" in result.stdout
    assert f"next: holdfast evaluate --model {tmp_path / 'run'} --data digits" in result.stdout
    assert "epoch" not in result.stdout.replace("epochs", "")


def test_what_is_next_names_the_threat_of_training(tmp_path):
    line = "train --data digits --model linear --epochs 1 --limit 60 --batch 30 --adversarial pgd --threat rotation"
    result = done(f"{line} --eps 20 --threat-set shift=0 --out", tmp_path / "run")
    assert "--data digits --threat rotation --threat-set shift=0 --eps 20" in result.stdout


def test_train_resumes_a_finished_run_to_itself(trained):
    line = "train --data digits --model mlp --model-set hidden=32 --epochs 6 --batch 32 --limit 300 --resume --out"
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    done(line, trained)
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_train_names_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "train --data digits --model linear --adversarial fgsm --eps 0.1 --epochs 1 --limit 40 --batch 20"
    assert plain(f"{line} --no-validation")["run"] == "runs/linear-digits-fgsm-linf"


# Evaluate, report, merge


def test_evaluate_json_has_what_was_promised(evaluated, trained):
    out, result = evaluated
    for rate in (result["clean"], result["robust"]):
        assert set(rate) == {"k", "n", "rate", "low", "high"}
        assert rate["n"] == 40
    assert result["clean"]["k"] > result["robust"]["k"]
    assert [point["eps"] for point in result["curve"]] == result["eps"] == [0.05, 0.1]
    assert result["passes"]["forward"] > 0
    assert result["passes"]["backward"] > 0
    assert result["seconds"] > 0
    assert result["run"] == str(out)
    assert result["report"] == str(out / "report.html")
    assert {"name", "verdict", "evidence", "advice"} <= set(result["checks"][0])
    assert isinstance(result["believe"]["verdict"], bool)
    assert (result["attack"]["name"], result["threat"]["name"]) == ("pgd", "linf")
    assert (result["data"]["name"], result["model"]["name"]) == ("digits", str(trained))
    assert "<html" in (out / "report.html").read_text()


def test_eot_averages_every_attack(trained, tmp_path):
    line = f"evaluate --data digits --limit 8 --eps 0.1 {QUICK} --eot 3 --model {trained}"
    result = plain(line, "--out", tmp_path / "run")
    options = result["attack"]["options"]
    assert (options["samples"], options["attack"]["steps"], result["attack"]["name"]) == (3, 3, "pgd")
    assert result["passes"]["forward"] % 3 == result["passes"]["backward"] % 3 == 0
    attack = f"attack --data digits --limit 4 --eps 0.1 --set steps=2 --eot 2 --model {trained}"
    assert done(attack, "--out", tmp_path / "pictures").exit_code == 0
    assert call(line + " --eot 0", "--out", tmp_path / "none").exit_code == 2


def test_evaluate_says_first_whether_to_believe(trained, tmp_path):
    line = "evaluate --data digits --limit 40 --eps 2/255,0.1 --attack pgd --set steps=1 --set step_size=0.01"
    result = done(line, "--model", trained, "--out", tmp_path / "run")
    first, *rest = result.stdout.splitlines()
    assert first.startswith("Do not believe these numbers: ")
    text = "\n".join(rest)
    assert "95 % interval" in text
    assert "linf 2/255" in text
    assert " of 40" in text
    assert "fail: " in text
    assert f"run: {tmp_path / 'run'}" in text
    assert f"report: {tmp_path / 'run' / 'report.html'}" in text


def test_evaluate_uses_every_flag(trained, tmp_path):
    line = (
        "evaluate --data digits --split validation --limit 10 --norm l2 --low -1 --high 2 --eps 1/2 --suite quick "
        "--batch 4 --seed 9 --threads 1 --device cpu --no-checks --no-report --quiet"
    )
    before = torch.get_num_threads()
    try:
        done(line, "--model", trained, "--out", tmp_path / "run")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["options"]["threat"] == {"name": "l2", "eps": [0.5], "low": -1.0, "high": 2.0}
    assert (run["options"]["seed"], run["choices"]["batch"], run["data"]["split"]) == (9, 4, "validation")
    assert run["options"]["attack"]["options"]["steps"] == 40
    assert run["provenance"]["command"][0] == "holdfast"
    assert not (tmp_path / "run" / "report.html").exists()


def test_quiet_says_nothing_but_the_result(trained, tmp_path):
    result = done(f"evaluate --data digits --limit 5 --eps 0.1 {QUICK} -q --model", trained, "--out", tmp_path / "r")
    assert result.stderr == ""
    assert "robust" in result.stdout


def test_evaluate_a_users_own_file(tmp_path):
    source = tmp_path / "net.py"
    source.write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    weights = {"1.weight": torch.randn(10, 64), "1.bias": torch.zeros(10)}
    torch.save(weights, tmp_path / "w.pt")
    line = f"evaluate --data digits --limit 10 --eps 0.1 {QUICK} --weights"
    result = plain(line, tmp_path / "w.pt", "--model", f"{source}:make", "--out", tmp_path / "run")
    x, y = data.load("digits", limit=10).x(), data.load("digits", limit=10).labels
    assert result["clean"]["k"] == int(((x.flatten(1) @ weights["1.weight"].T).argmax(1) == y).sum())


def test_evaluate_an_architecture_with_weights(trained, tmp_path):
    line = f"evaluate --model mlp --model-set hidden=32 --data digits --limit 10 --eps 0.1 {QUICK} --weights"
    result = plain(line, trained / "model.safetensors", "--out", tmp_path / "run")
    assert (
        result["clean"]
        == plain(
            f"evaluate --data digits --limit 10 --eps 0.1 {QUICK} --model",
            trained,
            "--out",
            tmp_path / "other",
        )["clean"]
    )


def test_evaluate_names_its_run_and_never_writes_over_it(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = f"evaluate --data digits --limit 5 --eps 0.1 {QUICK} --model"
    assert plain(line, trained)["run"] == "runs/plain-digits-linf-0.1-pgd"
    again = call(line, trained)
    assert again.exit_code == 1
    assert "already holds a run" in again.stderr
    assert plain(line, trained, "--resume")["run"] == "runs/plain-digits-linf-0.1-pgd"


def test_a_gate_for_continuous_integration(trained, tmp_path):
    line = "evaluate --data digits --limit 120 --eps 0.05 --attack pgd --set steps=5 --no-report --model"
    low = plain(line, trained, "--no-checks", "--out", tmp_path / "first")["robust"]["low"]
    assert 0.02 < low < 1
    passed = done(line, trained, "--no-checks", "--at-least", f"{low - 0.01}", "--out", tmp_path / "passed")
    assert "robust" in passed.stdout
    failed = call(line, trained, "--no-checks", "--at-least", f"{low + 0.01}", "--out", tmp_path / "failed")
    assert failed.exit_code == 1
    assert "its interval begins at" in failed.stderr
    assert "robust" in failed.stdout
    assert (tmp_path / "failed" / "summary.json").exists()
    # A number that is not to be believed passes no gate, however high.
    weak = "evaluate --data digits --limit 120 --eps 0.1 --attack noise --no-report --model"
    doubted = call(weak, trained, "--at-least", "0.01", "--out", tmp_path / "doubted")
    assert doubted.exit_code == 1
    assert "the numbers are not to be believed" in doubted.stderr


def test_junit_xml_is_written_whether_the_gate_is_passed_or_not(trained, tmp_path):
    line = "evaluate --data digits --limit 60 --eps 0.02,0.1 --attack pgd --set steps=5 --no-checks --no-report --model"
    path = tmp_path / "results" / "junit.xml"
    low = plain(line, trained, "--at-least", "0", "--out", tmp_path / "a", "--junit", path)["robust"]["low"]
    assert "<failure" not in path.read_text()
    failed = call(line, trained, "--at-least", f"{low + 0.01}", "--out", tmp_path / "b", "--junit", path)
    assert failed.exit_code == 1
    assert path.read_text().count("<failure") == 1
    assert f"junit: {path}" in failed.stdout
    again = call(
        line, tmp_path / "nowhere", "--out", tmp_path / "c", "--junit", path
    )  # what breaks off leaves no old result
    assert again.exit_code == 1
    assert "has not finished" in path.read_text()
    inside = tmp_path / "d" / "junit.xml"
    written = plain(line, trained, "--out", tmp_path / "d", "--junit", inside)["junit"]
    assert written == str(inside)
    assert inside.exists()


def test_a_changed_option_is_not_resumed(trained, tmp_path):
    line = f"evaluate --data digits --limit 5 {QUICK} --model"
    done(line, trained, "--eps", "0.1", "--out", tmp_path / "run")
    result = call(line, trained, "--eps", "0.2", "--out", tmp_path / "run", "--resume")
    assert result.exit_code == 1
    assert "threat.eps" in result.stderr


def test_parts_merge_into_the_run_of_one_process(trained, tmp_path, monkeypatch):
    import holdfast.evaluate.job as job

    monkeypatch.setattr(job, "LARGEST", 64 * 4)  # shards of four pictures
    line = f"evaluate --data digits --limit 10 --eps 0.1 {QUICK} --batch 16 --model"
    done(line, trained, "--out", tmp_path / "whole")
    for i in (1, 2):
        part = plain(line, trained, "--shard", f"{i}/2", "--out", tmp_path / f"part{i}")
        assert part["shard"] == [i, 2]
    merged = plain("merge", tmp_path / "part1", tmp_path / "part2", "--out", tmp_path / "merged", "--no-report")
    assert merged["robust"]["n"] == 10
    assert (tmp_path / "merged" / "summary.json").read_bytes() == (tmp_path / "whole" / "summary.json").read_bytes()
    told = done("merge", tmp_path / "part1", tmp_path / "part2", "--out", tmp_path / "again")
    assert f"report: {tmp_path / 'again' / 'report.html'}" in told.stdout
    low, path = merged["robust"]["low"], tmp_path / "junit.xml"
    gated = ("merge", tmp_path / "part1", tmp_path / "part2", "--junit", path, "--at-least")
    refused = call(*gated, f"{low + 0.01}", "--out", tmp_path / "refused")
    assert (refused.exit_code, refused.stderr.splitlines()[-1].partition(" at ")[0]) == (1, "error: robust accuracy")
    assert path.read_text().count("<failure") == 1
    done(*gated, f"{low}", "--out", tmp_path / "passed")


def test_report_of_one_and_of_several(evaluated, tmp_path):
    out, _ = evaluated
    page = tmp_path / "page.html"
    assert plain("report", out, "--out", page) == {"report": str(page), "runs": [str(out)]}
    assert done("report", out, out, "--out", page).stdout == f"report: {page}\n"
    assert page.read_text().count("<html") == 1


# Attack


def test_attack_writes_pictures_and_arrays(trained, tmp_path):
    out = tmp_path / "look"
    result = plain("attack --data digits --limit 6 --eps 0.1 --set steps=3 --model", trained, "--out", out)
    assert {path.name for path in out.glob("*.png")} == {
        f"{i:05d}-{kind}.png" for i in range(6) for kind in ("original", "adversarial", "difference")
    }
    pictures = data.load("digits", limit=6)
    with np.load(out / "arrays.npz") as arrays:
        assert np.array_equal(arrays["x"], pictures.x().numpy())
        assert np.abs(arrays["delta"]).max() <= 0.1 + 1e-6
        assert np.array_equal(arrays["x"] + arrays["delta"], arrays["x_adv"]) or np.allclose(
            arrays["x"] + arrays["delta"], arrays["x_adv"], atol=1e-7
        )
        model = models.load(trained)[0]
        with torch.no_grad():
            assert model(torch.from_numpy(arrays["x_adv"])).argmax(1).tolist() == arrays["prediction_adv"].tolist()
        assert result["broken"] == int((arrays["success"] & ~arrays["start_wrong"]).sum())
    from PIL import Image

    with Image.open(out / "00002-original.png") as image:
        assert np.array_equal(np.asarray(image), pictures.images[2, 0].numpy())
    with Image.open(out / "00002-difference.png") as image:
        assert {0, 255} & set(np.asarray(image).flatten().tolist())


def test_attack_towards_a_class(trained, tmp_path):
    line = "attack --data digits --limit 12 --eps 0.4 --target 3 --arrays safetensors --attack pgd --model"
    result = done(line, trained, "--out", tmp_path / "look")
    from safetensors.torch import load_file

    arrays = load_file(tmp_path / "look" / "arrays.safetensors")
    assert (arrays["prediction_adv"][arrays["success"]] == 3).all()
    assert arrays["success"].sum() > 6
    assert "misclassified as 3 at linf 0.4" in result.stdout


def test_attack_refuses_a_folder_in_use(trained, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    result = call("attack --data digits --limit 2 --eps 0.1 --model", trained, "--out", tmp_path)
    assert (result.exit_code, "is not empty" in result.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# Transfer, substitutes, universal perturbations


@pytest.fixture(scope="module")
def stolen(trained, tmp_path_factory):
    """A substitute of the model that `train` wrote, and what `substitute` printed as JSON."""
    out = tmp_path_factory.mktemp("substitute") / "mine"
    line = "substitute --data digits --model linear --limit 200 --rounds 1 --step 0.2 --epochs 4 --train-set batch=32"
    return out, plain(line, "--victim", trained, "--out", out)


def test_substitute_writes_a_model_and_how_near_it_comes(stolen, trained):
    out, result = stolen
    assert (result["queries"], result["asked_to_compare"]) == (400, 144)
    assert result["agreement"]["n"] == result["accuracy"]["n"] == result["victim_accuracy"]["n"] == 144
    assert result["agreement"]["k"] > 40
    told = models.load(out)[1].training["substitute"]
    assert (told["victim"], told["queries"]) == (str(trained), 400)
    assert told["augmentation"] == {"rounds": 1, "step": 0.2}


def test_substitute_is_told_to_people_and_may_compare_nothing(trained, tmp_path):
    line = "substitute --data digits --model linear --limit 40 --train-set batch=20 --epochs 1 --held-out none --victim"
    result = done(line, trained, "--out", tmp_path / "run")
    assert "trained on 40 labels of" in result.stdout
    assert "held-out" not in result.stdout
    assert f"--source {tmp_path / 'run'}" in result.stdout


def test_evaluate_from_a_source(stolen, trained, tmp_path):
    line = f"evaluate --data digits --limit 30 --eps 0.2 --attack mi-fgsm --set steps=4 --no-checks --model {trained}"
    result = plain(line, "--source", stolen[0], "--out", tmp_path / "run")
    assert result["attack"]["name"] == "mi-fgsm through mine"
    right = result["clean"]["k"]
    assert result["passes"]["backward_elsewhere"] == 4 * right
    assert (result["passes"]["forward"], result["passes"]["backward"]) == (30 + right, 0)
    assert result["success"]["k"] > 0
    own = done(line, "--source", trained, "--out", tmp_path / "white")
    assert "is the model itself, so this is an attack in the white box" in own.stderr
    look = plain(
        f"attack --data digits --limit 4 --eps 0.2 --attack pgd --model {trained}",
        "--source",
        stolen[0],
        "--out",
        tmp_path / "look",
    )
    assert look["n"] == 4


def test_evaluate_from_a_source_names_its_run(stolen, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = f"evaluate --data digits --limit 5 --eps 0.2 {QUICK} --model {trained} --source {stolen[0]}"
    assert plain(line)["run"] == "runs/plain-digits-linf-0.2-pgd-from-mine"


def test_transfer_tells_who_fools_whom(stolen, trained, tmp_path):
    line = (
        f"transfer --source {trained} --source {stolen[0]} --data digits --limit 40 --eps 0.2 --set steps=3 --batch 16"
    )
    result = plain(line, "--out", tmp_path / "table")
    assert [cell["white_box"] for cell in result["cells"]] == [True, False, False, True]
    assert [cell["success"]["n"] for cell in result["cells"][:2]] == [v["clean"]["k"] for v in result["victims"]]
    assert result["sources"][0]["backward"] == 120
    assert json.loads((tmp_path / "table/transfer.json").read_text())["cells"] == result["cells"]
    assert "white box" in (tmp_path / "table/report.html").read_text()
    shown = done(line, "--victim", trained, "--out", tmp_path / "again").stdout
    assert "made on" in shown
    assert " %" in shown
    assert "* source and victim are one model" in shown


def test_universal_fits_one_change_and_evaluate_replays_it(trained, tmp_path):
    line = f"universal --model {trained} --data digits --eps 0.3 --limit 50 --set pictures=100 --set epochs=3"
    out = tmp_path / "one"
    result = plain(line, "--out", out)
    assert (result["fooled"]["fitted"]["n"], result["fooled"]["held_out"]["n"]) == (100, 50)
    assert result["fooled"]["held_out"]["k"] > 0
    assert {path.name for path in out.iterdir()} == {"delta.safetensors", "delta.png", "universal.json"}
    rerun = f"evaluate --model {trained} --data digits --limit 50 --eps 0.3 --attack universal --no-checks --set delta="
    replayed = plain(f"{rerun}{out / 'delta.safetensors'}", "--out", tmp_path / "replayed")
    fitted = plain(
        f"evaluate --model {trained} --data digits --limit 50 --eps 0.1,0.3 --attack universal --no-checks "
        "--set pictures=100 --set epochs=3",
        "--out",
        tmp_path / "fitted",
    )
    assert replayed["robust"] == fitted["curve"][1]["own"]
    assert replayed["passes"]["backward"] == 0
    line = f"universal --model {trained} --data digits --eps 0.3 --limit 50 --attack universal-deepfool --target 3"
    towards = done(line, "--set", "pictures=20", "--out", tmp_path / "3")
    assert "taken for 3" in towards.stdout


def test_universal_may_be_fitted_on_another_model(stolen, trained, tmp_path):
    line = f"evaluate --model {trained} --data digits --limit 20 --eps 0.3 --attack universal --no-checks --no-report"
    options = "--set pictures=50 --set epochs=1"
    one = plain(f"{line} {options}", "--source", stolen[0], "--out", tmp_path / "a")
    other = plain(f"{line} {options}", "--out", tmp_path / "b")
    assert one["attack"]["options"] != other["attack"]["options"]


# List, data, doctor, help


def test_list_shows_all_that_is_registered():
    found = plain("list")
    assert set(found["attacks"]) == {*ATTACKS, *UNIVERSAL}
    assert set(found["models"]) == set(ARCHITECTURES)
    assert set(found["data"]) == set(SETS)
    assert set(found["threats"]) == set(THREATS)
    assert "quick" in found["suites"]
    assert "noise" in found["checks"]
    assert "dlr" in found["losses"]
    about = [entry["about"] for family in found.values() for entry in family.values()]
    assert all(text and not text.endswith(".") for text in about)
    steps = found["attacks"]["pgd"]["options"][0]
    assert (steps["name"], steps["default"], steps["type"]) == ("steps", "40", "a whole number")
    assert {o["name"] for o in found["training"]["train"]["options"]} == set(TrainOptions().__dataclass_fields__)


def test_list_is_read_by_people():
    text = done("list attacks").stdout
    assert "pgd: option" in text
    assert "length of a step, in units of eps" in text
    whole = done("list").stdout
    assert "attacks:" in whole
    assert "pgd: option" not in whole


def test_data_status_and_show(monkeypatch, tmp_path):
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    assert plain("data status")["digits"]["splits"] == {"train": 1293, "validation": 144, "test": 360}
    assert "fetched when first used" in done("data status --data-dir", tmp_path).stdout
    shown = plain("data show digits --limit 30")
    assert (shown["n"], sum(shown["classes"].values()), shown["shape"]) == (30, 30, [1, 8, 8])
    assert "digits, test: 360 pictures of 8x8" in done("data show digits").stdout


def test_data_fetch_verifies_what_is_here():
    assert plain("data fetch digits")["splits"] == {"train": 1293, "validation": 144, "test": 360}


def test_a_folder_of_pictures_with_some_that_are_none(trained, tmp_path):
    from PIL import Image

    pictures = data.load("digits", limit=80)
    assert len(pictures.labels.unique()) == 10
    for row, label in enumerate(pictures.labels.tolist()):
        folder = tmp_path / "set" / f"{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures.images[row, 0].numpy()).resize((16, 16)).save(folder / f"{row:02d}.png")
    (tmp_path / "set" / "3" / "notes.txt").write_text("not a picture")
    line = f"evaluate --resize 8 --eps 0.1 {QUICK} --limit 10 --model"
    result = done(line, trained, "--data", tmp_path / "set", "--out", tmp_path / "run")
    assert "note: left out: 1 file is not a picture: 3/notes.txt" in result.stderr
    assert "resized to 8x8" in result.stderr
    assert " of 10" in result.stdout


def test_doctor_shows_what_is_here(monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "nowhere"))
    found = plain("doctor")
    assert found["packages"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert "does not exist" in found["problems"][0]
    assert "problem" in done("doctor").stdout
    monkeypatch.delenv("HOLDFAST_DATA")
    assert "sklearn" in plain("doctor")["data"]["digits"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    assert name in done("--help").stdout
    assert "Usage" in done(f"{name} --help").stdout


def test_version():
    assert done("--version").stdout.strip() == holdfast.__version__


def test_help_needs_no_torch():
    code = (
        "import sys; sys.argv = ['holdfast', 'evaluate', '--help']\nfrom holdfast.cli import main\ntry:\n    main()\n"
    )
    code += "except SystemExit:\n    print('torch' in sys.modules, 'scipy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False False"


# The demo


def test_demo_leaves_two_runs_and_a_page(tmp_path, monkeypatch):
    from dataclasses import replace

    from holdfast.cli import demo

    quick = replace(demo.PLANS["digits"], epochs=(8, 8), steps=2, limit=40, eps=(0.1,), threads=None)
    monkeypatch.setitem(demo.PLANS, "digits", quick)
    out = tmp_path / "demo"
    first = plain("demo --out", out)
    assert set(first["runs"]) == {"standard", "hardened"}
    assert first["report"] == str(out / "report.html")
    for name in first["runs"]:
        assert (out / name / "summary.json").is_file()
        assert models.load(out / "models" / name)[1].architecture == "cnn"
    assert "hardened" in (out / "report.html").read_text()
    assert first["runs"]["hardened"]["robust"]["k"] > first["runs"]["standard"]["robust"]["k"]


def test_demo_shows_both_models_side_by_side(evaluated, monkeypatch, tmp_path):
    from holdfast.cli import demo

    used = []
    out, _ = evaluated
    monkeypatch.setattr(torch, "set_num_threads", lambda count: used.append(count))
    monkeypatch.setattr(demo, "_train", lambda *_, **__: None)
    monkeypatch.setattr(demo, "_evaluate", lambda screen, folder, name, *_: copied(out, folder / name))
    told = done("demo --out", tmp_path / "demo")
    lines = told.stdout.splitlines()
    assert lines[0].startswith("standard: ")
    assert any(line.startswith("robust at linf 0.1") and line.count("%") == 4 for line in lines)
    assert str(tmp_path / "demo" / "report.html") in lines[-1]
    assert used == [1]
    (tmp_path / "demo" / "mine.txt").write_text("kept")
    (tmp_path / "demo" / "standard" / "old").write_text("")
    again = done("demo --out", tmp_path / "demo")
    assert "replacing the earlier demo" in again.stderr
    assert (tmp_path / "demo" / "mine.txt").exists()
    assert not (tmp_path / "demo" / "standard" / "old").exists()


def copied(run, folder):
    """A finished run at another place, as an evaluation."""
    import shutil

    from holdfast.evaluate.result import evaluation

    shutil.copytree(run, folder)
    summary = json.loads((folder / "summary.json").read_text())
    return evaluation(summary, {}, 1.0, folder)


def test_demo_touches_nothing_that_is_not_its_own(tmp_path):
    (tmp_path / "standard").mkdir()
    result = call("demo --out", tmp_path)
    assert (result.exit_code, "no demo has written it" in result.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["standard"]


def test_a_rate_in_percent_is_told_how_a_rate_is_written(trained):
    refused = call(f"evaluate --model {trained} --data digits --eps 0.1 --at-least 45%")
    assert refused.exit_code == 2
    assert "--at-least '45%'; allowed: a rate from 0 to 1, such as 0.45" in refused.stderr


def test_a_model_to_transfer_from_that_cannot_be_opened_is_named_as_such(trained):
    refused = call(f"evaluate --model {trained} --data digits --limit 8 --eps 0.1 --transfer-from nosuch")
    assert refused.exit_code == 2
    assert "--transfer-from 'nosuch': unknown model 'nosuch'" in refused.stderr
    assert "FILE.py:FACTORY" in refused.stderr


def test_training_begins_with_the_weights_of_a_run(trained, tmp_path):
    line = "train --data digits --model mlp --model-set hidden=32 --epochs 1 --batch 32 --limit 300 --train-set"
    begun = plain(f"{line} learning_rate=1e-9 --train-set schedule=constant --from", trained, "--out", tmp_path / "run")
    assert begun["history"][0]["train"]["k"] > 200  # it knows the digits already
    refused = call(f"train --data digits --model cnn --from {trained} --out", tmp_path / "never")
    assert refused.exit_code == 1
    assert "does not fit the model: missing" in refused.stderr


def test_fine_tuning_on_deepfools_pictures_needs_no_radius(trained, tmp_path):
    line = (
        "train --data digits --model mlp --model-set hidden=32 --epochs 1 --batch 32 --limit 300 --adversarial deepfool"
    )
    result = plain(f"{line} --threat l2 --from", trained, "--out", tmp_path / "run")
    assert result["card"]["training"]["recipe"]["adversary"]["attack"]["name"] == "deepfool"
    assert result["robust"] is None


def test_a_recipe_file_trains_and_a_flag_goes_over_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[data]\nname = "digits"\nlimit = 100\n[model]\nname = "linear"\n[train]\nepochs = 3\nbatch = 50\n')
    result = plain("train", file, "--epochs", 1, "--out", tmp_path / "run")
    assert len(result["history"]) == 1
    assert result["history"][0]["train"]["n"] == 100
    file.write_text("[train]\nepochs = 0\nbatchh = 3\n")
    refused = call("train", file)
    assert refused.exit_code == 2
    told = refused.stderr.splitlines()
    assert told[0] == "error: 2 problems:"
    assert [line.split(": ")[0] for line in told[1:]] == [f"  {file}, line {number}" for number in (2, 3)]

"""`holdfast calibrate`: what it writes, which pictures it fits on, and what it refuses."""

import json
import re
from pathlib import Path

import pytest
import torch

from command_line import call, done, plain
from holdfast import data, models, train, uncertainty
from holdfast.errors import RunError
from holdfast.report.calibration import KIND
from holdfast.train import Recipe, TrainOptions, card_for


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model folder of digits."""
    out = tmp_path_factory.mktemp("train") / "plain"
    pictures = data.load("digits", "train", limit=500)
    recipe = Recipe(options=TrainOptions(epochs=6, batch=50))
    train.train(card_for("mlp", pictures, {"hidden": "16"}), pictures, recipe=recipe, out=out)
    return out


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A model of a user's own file."""
    path = tmp_path_factory.mktemp("own") / "net.py"
    path.write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n"
        "    torch.manual_seed(3)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "def probabilities():\n"
        "    return nn.Sequential(net(), nn.Softmax(1))\n"
        "def broken():\n"
        "    return lambda x: torch.where(x.flatten(1).sum(1, keepdim=True) == 32, 0.5, x.flatten(1)[:, :10] / 0)\n"
    )
    return path


@pytest.fixture(scope="module")
def calibrated(trained, tmp_path_factory):
    """A finished run with all methods, and what it printed as JSON."""
    out = tmp_path_factory.mktemp("calibrate") / "run"
    return out, plain("calibrate --data digits --method all --risk 0.3", "--model", trained, "--out", out)


def test_its_json_has_every_method_before_and_after(calibrated, trained):
    out, result = calibrated
    assert [one["method"] for one in result["methods"]] == list(uncertainty.RECALIBRATIONS)
    for one in result["methods"]:
        for when in ("before", "after"):
            for name in ("ece", "nll", "brier", "accuracy"):
                assert isinstance(one[when][name], float)
                low, high = one[when]["intervals"][name]
                assert low <= one[when][name] <= high
            assert 0 <= one[when]["accuracy"] <= 1
        assert one["before"] == result["before"]
    assert json.loads((out / "calibrate.json").read_text())["methods"] == result["methods"]
    test = data.load("digits", "test")
    logits = uncertainty.answers(models.load(trained)[0], test)
    assert result["before"]["ece"] == pytest.approx(uncertainty.ece(logits, test.labels))


def test_a_model_trained_here_is_fitted_on_its_validation_split_and_reported_on_test(calibrated):
    parts = calibrated[1]["data"]
    assert (parts["fit_on"]["split"], parts["fit_on"]["n"]) == ("validation", 144)
    assert (parts["on"]["split"], parts["on"]["n"]) == ("test", 360)
    assert not parts["halves"]


def test_the_saved_model_is_the_recalibrated_one_and_goes_anywhere(calibrated, tmp_path):
    out, result = calibrated
    model, card = models.load(out)
    assert (result["kept"], card.recalibration["method"]) == ("temperature", "temperature")
    test = data.load("digits", "test")
    after = next(one["after"] for one in result["methods"] if one["method"] == "temperature")
    assert uncertainty.ece(uncertainty.answers(model, test), test.labels) == pytest.approx(after["ece"], abs=1e-6)
    line = "evaluate --data digits --limit 12 --eps 0.1 --attack pgd --set steps=2 --no-report --no-checks"
    found = plain(line, "--model", out, "--out", tmp_path / "evaluated")
    right = int((model(test.x()[:12]).argmax(1) == test.labels[:12]).sum())
    assert found["clean"]["k"] == right


def test_a_recalibrated_model_is_measured_but_not_recalibrated_again(calibrated, tmp_path):
    out, result = calibrated
    refused = call("calibrate --data digits", "--model", out, "--out", tmp_path / "never")
    assert refused.exit_code == 2
    assert "recalibrated already, by temperature; allowed: no method (--method none)" in refused.stderr
    found = plain("calibrate --data digits --method none", "--model", out, "--out", tmp_path / "again")
    after = next(one["after"] for one in result["methods"] if one["method"] == "temperature")
    assert found["methods"] == []
    assert found["kept"] is None
    assert found["before"]["ece"] == pytest.approx(after["ece"], abs=1e-6)
    assert not (tmp_path / "again" / "card.json").exists()


def test_one_method_with_options_is_kept(trained, tmp_path):
    line = "calibrate --data digits --limit 100 --method histogram:bins=5,width=quantile --method platt"
    result = plain(line, "--model", trained, "--out", tmp_path / "run")
    assert (result["kept"], result["methods"][0]["options"]) == ("histogram", {"bins": 5, "width": "quantile"})
    assert models.load(tmp_path / "run")[1].recalibration["backward"] == "straight_through"
    other = plain(line, "--keep", "platt", "--model", trained, "--out", tmp_path / "other")
    assert models.load(tmp_path / "other")[1].recalibration["method"] == other["kept"] == "platt"


def test_a_model_from_elsewhere_gets_two_halves(elsewhere, tmp_path):
    result = done("calibrate --data digits --limit 101", "--model", f"{elsewhere}:net", "--out", tmp_path / "run")
    assert "note: fitted on one half of test, reported on the other" in result.stderr
    assert "half of test (50 pictures), fitted on the other half of test (51)" in result.stdout
    model, card = models.load(tmp_path / "run")
    assert card.architecture == f"{elsewhere}:net"
    x = data.load("digits", "test", limit=4).x()
    assert torch.allclose(model(x), model.model(x) / model.map.temperature.float())
    line = "calibrate --data digits --limit 101 --fit-on validation"
    both = plain(line, "--model", f"{elsewhere}:net", "--out", tmp_path / "both")
    assert (both["data"]["fit_on"]["split"], both["data"]["on"]["n"]) == ("validation", 101)


def test_a_registered_architecture_with_weights_is_saved_with_its_normalisation(trained, tmp_path):
    model, card = models.load(trained)
    line = f"calibrate --data digits --limit 60 --model mlp --model-set hidden=16 --weights {trained}/model.safetensors"
    done(line, "--out", tmp_path / "run")
    loaded, read = models.load(tmp_path / "run")
    assert (read.architecture, read.mean) == ("mlp", pytest.approx(card.mean))
    x = data.load("digits", "test", limit=4).x()
    assert torch.allclose(loaded.model(x), model(x))


def test_equal_runs_write_equal_files(trained, tmp_path):
    for name in ("one", "two"):
        done("calibrate --data digits --limit 80 --method bbq", "--model", trained, "--out", tmp_path / name)
    for file in ("calibrate.json", "card.json", "model.safetensors", "report.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_it_says_where_predictions_changed(trained, tmp_path):
    line = "calibrate --data digits --method matrix --method temperature"
    shown = done(line, "--model", trained, "--out", tmp_path / "run").stdout
    result = json.loads((tmp_path / "run" / "calibrate.json").read_text())
    assert result["methods"][0]["changed"] > 0
    assert f"matrix: {result['methods'][0]['changed']} predictions changed" in shown
    assert "temperature: temperature" in shown
    assert not re.search(r"temperature: \d+ predictions changed", shown)


def test_thresholds_and_sets_are_counted_on_pictures_that_did_not_make_them(calibrated, trained):
    result = calibrated[1]
    model = models.load(trained)[0]
    fitted, test = (data.load("digits", split) for split in ("validation", "test"))
    logits = [uncertainty.answers(model, some) for some in (fitted, test)]
    row = next(row for row in result["sets"] if row["rule"] == "lac")
    made = uncertainty.conformal(uncertainty.LAC(), logits[0], fitted.labels, alpha=0.1)
    assert row["level"] == pytest.approx(made.level)
    assert row["k"] == uncertainty.coverage(made.sets(logits[1]), test.labels).whole[0]
    assert sum(one["n"] for one in row["sizes"]) == sum(one["n"] for one in row["classes"]) == 360
    found = result["selective"]["threshold"]
    assert found["bound"] <= 0.3
    said = logits[1].softmax(1).amax(1)
    assert found["coverage"]["k"] == int((said > found["confidence_above"]).sum())
    assert found["errors"]["n"] == found["coverage"]["k"]


def test_the_page_stands_alone_and_shows_every_method(calibrated):
    out, result = calibrated
    html = (out / "report.html").read_text()
    assert html.count("<svg") == 10  # before, eight methods, risk over coverage
    for name in uncertainty.RECALIBRATIONS:
        assert f"<h3>{name}</h3>" in html
    assert "<script" not in html
    assert "http" not in html.replace("http-equiv", "")
    assert f"{100 * result['before']['ece']:.2f}" in html
    assert KIND.write(out).read_text() == html
    assert re.search(r"\d to \d+\.\d\d\s%", html)
    assert not re.search(r"% to", html)
    done("report", out, "--out", out.parent / "again.html")
    assert (out.parent / "again.html").read_text() == html


@pytest.mark.parametrize(("change", "text"), [({"format": 2}, "format 2"), ({"sets": None}, "damaged")])
def test_a_damaged_file_gives_no_page(calibrated, tmp_path, change, text):
    plain = json.loads((calibrated[0] / "calibrate.json").read_text())
    (tmp_path / "calibrate.json").write_text(json.dumps({**plain, **change}))
    with pytest.raises(RunError, match=text):
        KIND.write(tmp_path)


def test_all_leaves_out_what_cannot_be_fitted(trained, tmp_path):
    # Of the first pictures of the validation split, some classes have none.
    result = call(
        "calibrate --data digits --limit 8 --method all --json", "--model", trained, "--out", tmp_path / "run"
    )
    assert result.exit_code == 0, result.stderr
    assert "only temperature needs none of each class" in result.stderr
    assert [one["method"] for one in json.loads(result.stdout)["methods"]] == ["temperature"]


def test_fitting_on_training_pictures_is_warned_of(trained, tmp_path):
    result = done("calibrate --data digits --fit-on train --limit 60", "--model", trained, "--out", tmp_path / "run")
    assert "warning: the model was trained on the pictures to fit on" in result.stderr
    assert "trained on the pictures reported" not in result.stderr


@pytest.mark.parametrize("method", ["none", "temperature"])
def test_reporting_on_training_pictures_is_warned_of(method, trained, tmp_path):
    line = f"calibrate --data digits --on train --limit 60 --method {method}"
    result = done(line, "--model", trained, "--out", tmp_path / "run")
    assert "warning: the model was trained on the pictures reported" in result.stderr
    assert "on the pictures to fit on" not in result.stderr


def test_the_example_of_the_guide_runs(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "plain").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parent.parent / "docs" / "calibration.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", guide, flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/calibration.md", "exec"), {})
    error, held = capsys.readouterr().out.splitlines()
    assert 0 < float(error) < 0.2
    assert "360)" in held


REFUSED = {
    "one split as both": ("--model {trained} --fit-on test --on test", 2, "allowed: two splits"),
    "an unknown method": ("--model {trained} --method temprature", 2, "Did you mean 'temperature'"),
    "an unknown option": ("--model {trained} --method bbq:bins=3", 2, "unknown option of BBQ 'bins'"),
    "a method twice": ("--model {trained} --method bbq --method bbq", 2, "is given 2 times"),
    "all and one more": ("--model {trained} --method all --method bbq", 2, "alone"),
    "to keep what cannot be fitted": ("--model {trained} --method all --keep bbq --limit 8", 2, "methods, temperature"),
    "to keep another": ("--model {trained} --keep bbq", 2, "allowed: one of the methods, temperature"),
    "a risk above 1": ("--model {trained} --risk 5", 2, "risk=5.0; allowed: between 0 and 1"),
    "an alpha of 0": ("--model {trained} --alpha 0", 2, "alpha=0.0; allowed: between 0 and 1"),
    "no bins": ("--model {trained} --bins 0", 2, "error: bins=0; allowed: whole numbers >= 1, such as bins=15."),
    "probabilities": ("--model {own}:probabilities", 2, "torch.log"),
    "logits that are no numbers": ("--model {own}:broken", 1, "NaN or infinite"),
    "a class without pictures": ("--model {trained} --limit 8 --method vector", 1, "have no picture to be fitted on"),
    "a folder in use": ("--model {trained} --out {trained}", 1, "is not empty"),
    "no such split": ("--model {trained} --fit-on tset", 2, "unknown split 'tset'"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(case, trained, elsewhere, tmp_path):
    line, code, text = case
    line = line.format(trained=trained, own=elsewhere)
    out = "" if "--out" in line else f" --out {tmp_path / 'never'}"
    result = call(f"calibrate --data digits {line}{out}")
    assert result.exit_code == code, result.output
    assert text in result.stderr
    errors = [row for row in result.stderr.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1
    assert not (tmp_path / "never").exists()


def test_splits_that_share_a_picture_are_refused(tmp_path, elsewhere):
    from PIL import Image

    pictures = data.load("digits", "test", limit=60)
    for split in ("validation", "test"):
        for place, (image, label) in enumerate(zip(pictures.images, pictures.labels.tolist())):
            if place == 5 or (place % 2 == 0) == (split == "test"):
                path = tmp_path / "set" / split / str(label) / f"{place}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image[0].numpy()).save(path)
    line = f"calibrate --data {tmp_path / 'set'} --fit-on validation --model {elsewhere}:net --out {tmp_path / 'run'}"
    result = call(line)
    assert result.exit_code == 1, result.output
    assert "1 of 31 pictures that are reported were fitted on as well" in result.stderr

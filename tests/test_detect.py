"""Thresholds, the gradient's norm, fitted detectors as folders, and both columns of their worth."""

import csv
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import detecting
from command_line import call, done, plain, refused
from holdfast import data, detect, evaluate, models, train
from holdfast.cli import judged as judged_command
from holdfast.cli.fitted import doubts
from holdfast.detect.threshold import threshold
from holdfast.errors import DataError, ModelError, OptionError, RunError
from holdfast.evaluate.judge import Judge
from holdfast.models.guarded import Guarded
from holdfast.report.detection import KIND

# Thresholds.


@given(st.floats(0.02, 0.9), st.integers(1, 300), st.integers(0, 2**31))
def test_no_more_pictures_than_asked_for_are_above_a_threshold(rate, n, seed):
    values = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    least = math.ceil(1 / rate - 1e-9) - 1
    if n < least:
        with pytest.raises(DataError, match=f"allowed: {least} or more"):
            threshold(values, rate)
        return
    found = threshold(values, rate)
    above = int((values.double() > found.value).sum())
    assert above + 1 <= rate * (n + 1) + 1e-6  # k - 1 of n, so that of n + 1 at most k are
    assert above + 2 > rate * (n + 1) - 1e-6


def test_false_alarms_keep_to_the_rate_on_pictures_to_come():
    generator = torch.Generator().manual_seed(0)
    alarms = [
        float(
            (torch.randn(200, generator=generator) > threshold(torch.randn(99, generator=generator), 0.05).value).sum()
        )
        for _ in range(300)
    ]
    assert abs(sum(alarms) / (300 * 200) - 0.05) < 0.005


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_that_are_none_are_refused(rate):
    with pytest.raises(OptionError, match="between 0 and 1"):
        threshold(torch.arange(100.0), rate)


def test_suspicion_that_is_no_number_is_refused():
    with pytest.raises(ModelError, match="2 of 3 clean pictures is NaN or infinite"):
        threshold(torch.tensor([1.0, torch.nan, torch.inf]), 0.5)


# Fitted detectors.


def test_half_of_the_clean_pictures_are_as_far_from_refusal_as_from_another_class():
    made = detecting.fitted("entropy")
    with torch.no_grad():
        logits = made.model.eval()(detecting.held_out().x())
    first, second = logits[:, :10].topk(2, dim=1).values.unbind(1)
    assert float(-logits[:, 10].median()) == pytest.approx(float((first - second).median()), rel=1e-3)
    assert made.misclassified == int((logits[:, :10].argmax(1) != detecting.held_out().labels).sum())


def test_a_detector_is_not_fitted_on_what_its_threshold_is_from():
    with pytest.raises(DataError, match="were fitted on as well"):
        detect.fit(detect.GradientNorm(), detecting.trained(), detecting.training(), detecting.training())


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "between 0 and 1"), (float("nan"), "between 0 and 1"), (1e-4, "allowed: 9999 or more")]
)
def test_a_rate_is_refused_before_anything_is_fitted(rate, text, monkeypatch):
    monkeypatch.setattr(detect.GradientNorm, "fit", lambda *given, **options: pytest.fail("it was fitted"))
    with pytest.raises((OptionError, DataError), match=text):
        detect.fit(
            detect.GradientNorm(),
            detecting.trained(),
            detecting.training(),
            detecting.held_out(),
            false_alarms=rate,
        )


def test_a_guarded_model_is_not_guarded_again():
    made = detecting.fitted("entropy")
    with pytest.raises(ModelError, match=r"guarded already.*folder classifier/"):
        detect.fit(detect.GradientNorm(), made.model, detecting.training(), detecting.held_out())


def test_a_detector_that_learnt_nothing_says_so(monkeypatch, classifier, tmp_path):
    assert not detecting.fitted("entropy").blind
    monkeypatch.setattr(
        "holdfast.uncertainty.scores.Entropy.score", lambda self, batch: batch.logits.double()[:, 0] * 0
    )
    shown = done(f"detect fit --model {classifier} --data digits --detector entropy --out {tmp_path / 'guard'}")
    assert "warning: entropy says the same of 144 of 144 clean pictures: it learnt nothing" in shown.stderr
    learnt_nothing = "entropy says the same of 144 of 144 clean pictures: it learnt nothing"
    line = f"detect evaluate --model {tmp_path / 'guard'} --data digits --split validation -n 9 --eps 0.5 --attack pgd"
    told = done(line, "--no-report", "--quiet", "--json", "--out", tmp_path / "run")
    on_threshold, blind = json.loads(told.stdout)["warnings"]
    assert (on_threshold[:41], blind) == ("thresholds are from validation pictures, ", learnt_nothing)
    assert told.stderr == ""


@pytest.mark.parametrize(("alike", "blind"), [(101, False), (102, True), (200, True)])
def test_what_rounding_tells_apart_is_learnt_no_more(alike, blind):
    made = detecting.fitted("entropy")
    clean = made.threshold.value - torch.arange(202.0)
    clean[:alike] = made.threshold.value
    assert replace(made, clean=clean).alike == alike
    assert replace(made, clean=clean).blind == blind


@pytest.mark.parametrize(("wrong", "doubted"), [(101, False), (102, True)])
def test_a_classifier_that_is_mostly_wrong_is_doubted(wrong, doubted):
    made = detecting.fitted("entropy")
    texts = doubts(replace(made, threshold=replace(made.threshold, n=202), misclassified=wrong))
    said = [
        f"the classifier gets {wrong} of 202 clean pictures wrong: it may have been trained on other data than these"
    ]
    assert texts == said * doubted


def test_a_classifier_of_other_data_is_told_of(tmp_path):
    card = train.card_for("linear", data.load("digits", "train", limit=10))
    models.save(tmp_path / "untrained", card.build(seed=0), card)
    line = f"detect fit --model {tmp_path / 'untrained'} --data digits --out {tmp_path / 'guard'}"
    assert "clean pictures wrong: it may have been trained on other data" in done(line).stderr


def test_unknown_detectors_are_refused():
    with pytest.raises(OptionError, match="Did you mean 'gradient-norm'"):
        detect.detector("gradient-nrom")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model folder."""
    out = tmp_path_factory.mktemp("detect") / "plain"
    pictures = data.load("digits", "train", limit=500)
    recipe = train.Recipe(options=train.TrainOptions(epochs=6, batch=50))
    train.train(train.card_for("mlp", pictures, {"hidden": "16"}), pictures, recipe=recipe, out=out)
    return out


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    """A guarded model, as the command writes it."""
    out = tmp_path_factory.mktemp("guard") / "guard"
    told = plain(f"detect fit --model {classifier} --data digits --detector mahalanobis --out {out}")
    assert (told["n"], told["detector"]["name"], told["warnings"]) == (144, "mahalanobis", [])
    return out


def test_a_folder_gives_the_same_guarded_model_anywhere(folder, classifier):
    opened = evaluate.open_model(str(folder), shape=(1, 8, 8), classes=10)
    assert isinstance(opened.model, Guarded)
    assert opened.card.architecture == "mlp"
    x = data.load("digits", "test").x()
    again = detect.load(folder, models.load(folder / "classifier")[0]).model
    with torch.no_grad():
        assert torch.equal(opened.model(x), again(x))
    plain_answer = models.load(classifier)[0](x).argmax(1)
    said = opened.model(x)
    answered = said.argmax(1) != 10
    assert torch.equal(said.argmax(1)[answered], plain_answer[answered])
    assert 0 < int((~answered).sum()) < 60


def test_commands_take_a_guarded_model_or_say_what_they_want(folder, tmp_path):
    refusing = f"--model {folder} --data digits"
    done(f"evaluate {refusing} -n 60 --eps 0.4 --attack pgd --out {tmp_path / 'evaluated'}")
    about = json.loads((tmp_path / "evaluated" / "summary.json").read_text())
    assert about["model"]["refused"] == 10
    assert about["clean"]["k"] < 60
    assert "refused" in (tmp_path / "evaluated" / "report.html").read_text()
    shown = done(f"attack {refusing} -n 60 --eps 0.4 --attack pgd --set steps=3 --out {tmp_path / 'attacked'}").stdout
    assert "refused (" in shown
    assert "class 10" not in shown
    found = plain(f"calibrate {refusing} --method none --out {tmp_path / 'measured'}")
    assert found["before"]["accuracy"] < 1
    _, text = refused(f"ood {refusing} --quiet --against noise:uniform --out {tmp_path / 'never'}")
    assert "is guarded by a detector; allowed: its classifier alone" in text


def test_what_a_folder_should_not_be_is_refused(folder, classifier, tmp_path):
    other = models.load(classifier)[0]
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(ModelError, match="fitted beside another classifier"):
        detect.load(folder, other)
    with pytest.raises(ModelError, match=r"fitted on pictures of shape \(1, 8, 8\), these are \(1, 28, 28\)"):
        evaluate.open_model(str(folder), shape=(1, 28, 28), classes=10)
    with pytest.raises(OptionError, match="neither weights nor options"):
        evaluate.open_model(str(folder), tmp_path / "w.safetensors")
    for change, text in (({"format": 2}, "has format 2"), ({"threshold": None}, "no whole guarded model")):
        broken = tmp_path / text.split()[0]
        shutil.copytree(folder, broken)
        about = json.loads((folder / "guard.json").read_text())
        (broken / "guard.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(ModelError, match=text):
            evaluate.open_model(str(broken))
    for content in ("{", "[]"):
        (broken / "guard.json").write_text(content)
        with pytest.raises(ModelError, match="no whole guarded model"):
            evaluate.open_model(str(broken), shape=(1, 8, 8), classes=10)
    (broken / "guard.json").write_text(json.dumps(about))
    (broken / "guard.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"not the file that guard.json was written for"):
        evaluate.open_model(str(broken))


# The command line and the page.


def test_a_detector_is_fitted_judged_and_shown_in_one_go(classifier, tmp_path):
    line = f"detect evaluate --model {classifier} --data digits -n 25 --eps 0.3 --detector energy --attack pgd:steps=10"
    result = plain(line, "--out", tmp_path / "run")
    (row,) = result["attacks"]
    for column in ("oblivious", "adaptive"):
        assert {"detected", "false_alarms", "median_size"} <= row[column].keys()
    assert (tmp_path / "run" / "guard" / "guard.json").is_file()
    html = (tmp_path / "run" / "report.html").read_text()
    assert "What this detector is worth once it is known" in html
    assert "Once it is known, energy flags" in html
    assert "<script" not in html
    assert KIND.write(tmp_path / "run").read_text() == html
    done(f"report {tmp_path / 'run'} --out {tmp_path / 'again.html'}")
    assert (tmp_path / "again.html").read_text() == html
    line = f"detect evaluate --model {tmp_path / 'run' / 'guard'} --data digits -n 25 --eps 0.3 --attack pgd:steps=10"
    again = plain(line, "--no-report", "--out", tmp_path / "again")
    assert again["attacks"] == result["attacks"]
    (tmp_path / "run" / "detect.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(RunError, match="format 2"):
        KIND.write(tmp_path / "run")


def test_a_run_cut_short_goes_on_with_its_detector(classifier, folder, tmp_path, monkeypatch):
    out, rest = tmp_path / "run", "--data digits -n 25 --eps 0.3 --attack fgsm --attack pgd:steps=10 --no-report"
    fitting = "--detector=mahalanobis --false-alarms 0.1 --fit-limit 200"
    line = f"detect evaluate -m {classifier} {rest} {fitting}"
    whole = plain(f"{line} --out {tmp_path / 'whole'}")
    judged, fitted = [], []
    by, fit = Judge.by, detect.fit

    def stopped(judge, attack, tell):
        if attack.name == "pgd":
            raise KeyboardInterrupt
        return by(judge, attack, tell)

    monkeypatch.setattr("sys.argv", ["holdfast", *line.split()])
    with monkeypatch.context() as cut:
        cut.setattr(Judge, "by", stopped)
        result = call(f"{line} --out {out}")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == f"interrupted; go on with: holdfast {line} --resume"
    _, text = refused(f"{line} --quiet --out {out}")
    assert "is not empty" in text
    _, text = refused(f"{line.replace('0.1', '0.2')} --quiet --resume --out {out}")
    assert "fitted in another way" in text
    (out / ".detect.json.x.part").write_bytes(b"")  # as a kill may leave it
    (out / "detect.safetensors").write_bytes(b"")
    monkeypatch.setattr(Judge, "by", lambda judge, attack, tell: judged.append(attack.name) or by(judge, attack, tell))
    monkeypatch.setattr(detect, "fit", lambda *rest, **more: fitted.append(1) or fit(*rest, **more))
    assert plain(f"{line} --resume --out {out}")["attacks"] == whole["attacks"]
    assert (judged, fitted) == (["pgd"], [])
    _, text = refused(f"{line} --quiet --resume --out {out}")
    assert "is finished" in text
    _, text = refused(f"{line} --quiet --resume --out {folder}")
    assert "holds no run that was cut short" in text
    assert "nothing to resume" in done(f"{line} --resume --out {tmp_path / 'new'}").stderr


@pytest.mark.parametrize("at", ["holdfast.detect.fit", "holdfast.detect.saving.sha256"])
def test_a_run_cut_short_while_it_fits_says_how_to_go_on(classifier, tmp_path, monkeypatch, at):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    line = f"detect evaluate -m {classifier} --data digits -n 10 --eps 0.3 --attack fgsm --detector energy"
    line += f" --out {tmp_path / 'run'}"
    monkeypatch.setattr("sys.argv", ["holdfast", *line.split()])
    with monkeypatch.context() as cut:
        cut.setattr(at, interrupted)
        result = call(line)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == f"interrupted; go on with: holdfast {line} --resume"
    assert plain(f"{line} --no-report --resume")["attacks"][0]["attack"] == "fgsm"


def test_one_adversarial_picture_is_enough_for_a_page(folder, tmp_path):
    line = f"detect evaluate --model {folder} --data digits --split validation -n 2 --eps 0.5 --attack pgd"
    shown = done(line, "--out", tmp_path / "run")
    assert "warning: thresholds are from validation pictures" in shown.stderr
    result = json.loads((tmp_path / "run" / "detect.json").read_text())
    assert result["attacks"][0]["oblivious"]["auroc"] is None
    html = (tmp_path / "run" / "report.html").read_text()
    assert "Once it is known" in html
    assert "digits, 2 validation pictures" in html
    assert "says nothing of other thresholds" in html
    assert "of 2 clean pictures refused" in shown.stdout
    assert "of 1 clean picture refused" in judged_command.shown({**result, "clean": {**result["clean"], "n": 1}})[0]


def test_pictures_are_told_apart_one_by_one(folder, tmp_path):
    told = plain(f"detect apply --model {folder} --data digits -n 40 --out {tmp_path / 'run'}")
    lines = (tmp_path / "run" / "detected.csv").read_text().splitlines()
    assert lines[0] == "place,prediction,suspicion,refused"
    assert sum(line.endswith(",yes") for line in lines[1:]) == told["refused"]
    assert len(lines) == 41


def test_names_of_classes_may_have_commas(tmp_path):
    pictures = data.load("digits", "train", limit=300)
    named = replace(pictures, classes=tuple(f"{name}, a digit" for name in pictures.classes))
    card = train.card_for("mlp", named, {"hidden": "8"})
    train.train(card, named, recipe=train.Recipe(options=train.TrainOptions(epochs=1)), out=tmp_path / "plain")
    done(f"detect fit --model {tmp_path / 'plain'} --data digits --detector energy --out {tmp_path / 'guard'}")
    done(f"detect apply --model {tmp_path / 'guard'} --data digits --out {tmp_path / 'run'}")
    with (tmp_path / "run" / "detected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["refused"] for row in rows} == {"yes", "no"}
    assert {row["prediction"] for row in rows} <= set(named.classes)


def test_pictures_of_no_known_class_are_told_by_their_files(folder, tmp_path):
    lying = tmp_path / "lying"
    lying.mkdir()
    pictures = data.load("digits", "test", limit=5)
    for number, image in enumerate(pictures.images):
        Image.fromarray(image[0].numpy()).save(lying / f"{number},a.png")
    (lying / "notes.txt").write_text("no picture")
    shown = done(f"detect apply --model {folder} --data {lying} --out {tmp_path / 'own'}")
    assert "left out: 1 file is not a picture: notes.txt" in shown.stderr
    done(f"detect apply --model {folder} --data digits -n 5 --out {tmp_path / 'set'}")
    own, of_set = (
        list(csv.reader((tmp_path / run / "detected.csv").read_text().splitlines())) for run in ("own", "set")
    )
    assert own[0] == ["file", "prediction", "suspicion", "refused"]
    assert [row[0] for row in own[1:]] == [f"{number},a.png" for number in range(5)]
    assert [row[1:] for row in own] == [row[1:] for row in of_set]
    told = plain(f"detect apply --model {folder} --data {lying} -n 2 --out {tmp_path / 'two'}")
    assert told["n"] == 2
    (lying / "class").mkdir()
    _, text = refused(f"detect apply --model {folder} --data {lying} --quiet --out {tmp_path / 'never'}")
    assert "class folder without files" in text


def test_a_guarded_model_is_no_classifier_to_go_on_with(folder, tmp_path):
    line = f"train --from {folder} --data digits --model mlp --epochs 1 --quiet --out {tmp_path / 'never'}"
    _, text = refused(line)
    assert f"is guarded by a detector; allowed here: its classifier, {str(folder / 'classifier')!r}" in text
    line = f"substitute --victim {folder} --data digits -n 50 --model linear --epochs 1 --quiet"
    _, text = refused(line, "--out", tmp_path / "never")
    assert "is guarded by a detector; allowed: its classifier alone" in text
    _, text = refused(f"detect fit --model nowhere --data digits --quiet --out {tmp_path / 'never'}")
    assert "unknown model 'nowhere'" in text
    assert "Nor is a folder 'nowhere' there, seen from" in text


def test_its_page_is_of_one_folder_alone(folder, tmp_path):
    done(f"detect evaluate --model {folder} --data digits -n 20 --eps 0.4 --attack fgsm --no-report --out {tmp_path}")
    _, text = refused(f"report {tmp_path} {tmp_path}")
    assert "detect.json, whose page is of one folder; allowed: that folder alone" in text


REFUSED = {
    "a classifier without a detector": ("evaluate --model {classifier} --eps 0.1", "has no detector; allowed"),
    "a detector twice": (
        "evaluate --model {folder} --eps 0.1 --detector energy",
        "which has a detector already; allowed: one of them. Leave out",
    ),
    "a rate for one that is fitted": (
        "evaluate --model {folder} --eps 0.1 --false-alarms 0.2",
        "--false-alarms with --model {folder}, whose detector is fitted; allowed: with --detector",
    ),
    "a limit for one that is fitted": (
        "evaluate --model {folder} --eps 0.1 --fit-limit 9",
        "--fit-limit with --model {folder}, whose detector is fitted; allowed: with --detector",
    ),
    "a model that is not there": ("evaluate --model nowhere --eps 0.1", "--model nowhere is not there; allowed"),
    "a norm that is none": ("evaluate --model {folder} --eps 1 --norm patch", "unknown norm 'patch'; known: l0, l1"),
    "an empty detector": ("fit --model {classifier} --detector ''", "--detector ''; allowed: NAME"),
    "a rate that is no number": ("fit --model {classifier} --false-alarms often", "--false-alarms 'often'; allowed"),
    "an attack from elsewhere": (
        "evaluate --model {folder} --eps 0.1 --attack foolbox:LinfPGD",
        "--attack foolbox:LinfPGD; allowed: attacks of our own, which know how to attack a detector too",
    ),
    "an attack of one's own": ("evaluate --model {folder} --eps 0.1 --attack a.py:attack", "attacks of our own"),
    "an option of an attack without its value": (
        "evaluate --model {folder} --eps 0.1 --attack pgd:steps",
        "NAME or NAME:OPTION=VALUE",
    ),
    "an attack twice": ("evaluate --model {folder} --eps 0.1 --attack pgd --attack pgd", "--attack pgd is given twice"),
    "an attack that knows": ("evaluate --model {folder} --eps 0.1 --attack orthogonal-pgd", "cannot be unaware of it"),
    "an unknown attack": ("evaluate --model {folder} --eps 0.1 --attack fgms", "Did you mean 'fgsm'"),
    "an unknown detector": ("fit --model {classifier} --detector enrgy", "Did you mean 'energy'"),
    "an unknown option": ("fit --model {classifier} --detector energy:heat=3", "heat"),
    "too few pictures": ("fit --model {classifier} --false-alarms 0.001", "allowed: 999 or more"),
    "a rate that is none": ("fit --model {classifier} --false-alarms 2", "between 0 and 1"),
    "a guarded model": ("fit --model {folder}", "guarded already"),
    "nothing to find": (
        "evaluate --model {folder} -n 5 --eps 0.000001 --attack pgd",
        "no adversarial picture was found",
    ),
    "no detector to apply": ("apply --model {classifier}", "has no detector; allowed"),
    "a folder in use": ("apply --model {folder} --out {folder}", "is not empty"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(case, folder, classifier, tmp_path):
    line, text = case
    line = line.format(folder=folder, classifier=classifier)
    out = "" if "--out" in line else f" --out {tmp_path / 'never'}"
    result = call(f"detect {line} --data digits{out}")
    assert result.exit_code in (1, 2), result.output
    errors = [row for row in result.stderr.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1
    assert text.format(folder=folder) in errors[0]


def test_a_rate_may_be_a_fraction(classifier, tmp_path):
    line = f"detect fit --model {classifier} --data digits --detector entropy --false-alarms 1/10"
    assert plain(line, "--out", tmp_path / "guard")["false_alarms"] == 0.1

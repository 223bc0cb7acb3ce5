"""`evaluate.calibrate` and `evaluate.unfamiliar` from Python."""

import pytest
import torch
from torch import nn

from holdfast import data, evaluate, models, uncertainty
from holdfast.errors import OptionError
from holdfast.evaluate import CalibrationOptions


@pytest.fixture(scope="module")
def opened():
    torch.manual_seed(3)
    return models.Opened(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), None, "mine")


def test_without_pictures_to_fit_on_half_is_reported_and_nothing_is_written(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = data.load("digits", "test", limit=101)
    seen = []
    found = evaluate.calibrate(opened, pictures, progress=lambda done, total: seen.append((done, total)))
    fitted, reported = uncertainty.halves(pictures, 0)
    logits = uncertainty.answers(opened.model, reported)
    assert found.plain["data"]["halves"]
    assert found.before.measures["ece"].value == pytest.approx(uncertainty.ece(logits, reported.labels))
    made = uncertainty.Temperature().fit(uncertainty.answers(opened.model, fitted), fitted.labels)
    assert float(found.kept.map.temperature) == pytest.approx(float(made.temperature))
    assert seen == [(51, 101), (101, 101)]
    assert not any(tmp_path.iterdir())


def test_a_set_given_to_fit_on_is_used_whole(opened):
    fitted, reported = (data.load("digits", split, limit=60) for split in ("validation", "test"))
    found = evaluate.calibrate(opened, reported, fitted, CalibrationOptions(methods=()))
    assert (found.outcomes, found.kept, found.plain["kept"]) == ((), None, None)
    assert (found.plain["data"]["fit_on"]["n"], found.plain["data"]["on"]["n"]) == (60, 60)
    assert not found.plain["data"]["halves"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"methods": (uncertainty.BBQ(), uncertainty.BBQ())}, "method bbq is given 2 times"),
        ({"keep": "bbq"}, "keep='bbq'; allowed: one of the methods, temperature"),
        ({"methods": (), "keep": "bbq"}, "of which there is none"),
        ({"risk": 1.0}, "risk=1.0; allowed: between 0 and 1"),
        ({"alpha": float("nan")}, "alpha=nan; allowed: between 0 and 1"),
    ],
)
def test_bad_options_are_refused(wrong, text):
    with pytest.raises(OptionError, match=text):
        CalibrationOptions(**wrong)


def test_scores_are_put_on_record_without_a_folder_too(opened, tmp_path):
    sets = {
        "fitted_on": data.load("digits", "train", limit=200),
        "inside": data.load("digits", "test", limit=60),
        "outside": uncertainty.noise("uniform", data.load("digits", "test", limit=50), seed=0),
    }
    scores = [uncertainty.score("energy"), uncertainty.score("gen")]
    found = evaluate.unfamiliar(opened, scores, **sets)
    alone = uncertainty.judge(scores, opened.model, **sets)
    assert [one.to_plain() for one in alone.judged] == found.plain["scores"]
    evaluate.unfamiliar(opened, scores, **sets, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ood.json", "scores.safetensors"]

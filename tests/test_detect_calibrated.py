"""A guarded model whose confidence is measured and mended: on what it answers, refusing the same as before."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from command_line import call, done, plain, refused
from holdfast import data, evaluate, models, train, uncertainty
from holdfast.access import borrow
from holdfast.errors import DataError, OptionError
from holdfast.evaluate import CalibrationOptions
from holdfast.models import Guarded, Opened, Recalibrated


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A guarded model as a folder, which refuses about a fifth."""
    out = tmp_path_factory.mktemp("calibrated")
    known = data.load("digits", "train", limit=500)
    recipe = train.Recipe(options=train.TrainOptions(epochs=12, batch=50))
    train.train(train.card_for("mlp", known, {"hidden": "16"}), known, recipe=recipe, out=out / "plain")
    line = f"detect fit --model {out / 'plain'} --data digits --detector mahalanobis --false-alarms 0.2"
    plain(f"{line} --out {out / 'guard'}")
    return out / "guard"


def opened(folder):
    return evaluate.open_model(str(folder), shape=(1, 8, 8), classes=10)


def split(model, pictures):
    """Logits and labels of the pictures that are answered."""
    with torch.no_grad(), borrow(model):
        said = model(pictures.x())
        logits = model.model(pictures.x())
    rows = said.argmax(1) != 10
    return logits[rows], pictures.labels[rows], rows


def test_figures_and_map_are_of_what_is_answered(folder):
    model = opened(folder).model
    fitted, reported = data.load("digits", "validation"), data.load("digits", "test", limit=150)
    found = evaluate.calibrate(opened(folder), reported, fitted)
    known, judged = split(model, fitted), split(model, reported)
    assert 0 < len(judged[1]) < 150
    assert found.before.measures["ece"].value == pytest.approx(uncertainty.ece(*judged[:2]))
    wanted = uncertainty.Temperature().fit(*known[:2])
    assert float(found.kept.map.temperature) == pytest.approx(float(wanted.temperature))
    shares = found.plain["answered"]
    assert (shares["on"]["k"], shares["on"]["n"]) == (len(judged[1]), 150)
    assert (shares["fit_on"]["k"], shares["fit_on"]["n"]) == (len(known[1]), len(fitted))


@pytest.mark.parametrize("method", uncertainty.RECALIBRATIONS)
def test_the_mended_model_refuses_the_same_and_maps_the_rest(folder, tmp_path, method):
    before = opened(folder)
    test = data.load("digits", "test", limit=120)
    options = CalibrationOptions(methods=(uncertainty.build(method),))
    found = evaluate.calibrate(before, test, data.load("digits", "validation"), options, out=tmp_path / "mended")
    after = opened(tmp_path / "mended").model
    assert isinstance(after, Guarded)
    assert isinstance(after.model, Recalibrated)
    logits, _, rows = split(before.model, test)
    with torch.no_grad():
        said = after(test.x())
    assert torch.equal(said.argmax(1) == 10, ~rows)
    mapped = found.kept.map(logits)
    wanted = mapped - mapped.amax(1, keepdim=True)
    torch.testing.assert_close(said[rows, :10], wanted.to(said), rtol=1e-4, atol=1e-4)


def test_refusal_is_measured_in_the_mended_logits(folder, tmp_path):
    before = opened(folder)
    found = evaluate.calibrate(
        before, data.load("digits", "test", limit=100), data.load("digits", "validation"), out=tmp_path / "mended"
    )
    scale = float(opened(tmp_path / "mended").model.scale)
    assert scale == pytest.approx(float(before.model.scale) / float(found.kept.map.temperature), rel=1e-6)


def test_an_attacker_has_the_gradient_of_both(folder, tmp_path):
    test = data.load("digits", "test", limit=40)
    evaluate.calibrate(opened(folder), test, data.load("digits", "validation"), out=tmp_path / "mended")
    model = opened(tmp_path / "mended").model
    assert model.suspicion.gradient == opened(folder).model.suspicion.gradient
    x = test.x().double().requires_grad_()
    model = model.double()
    (gradient,) = torch.autograd.grad(model(x)[:, 10].sum(), x)
    moved = torch.zeros_like(x)
    moved[:, 0, 3, 3] = 1e-4
    with torch.no_grad():
        slope = (model(x + moved)[:, 10] - model(x - moved)[:, 10]) / 2e-4
    torch.testing.assert_close(gradient[:, 0, 3, 3], slope, rtol=1e-3, atol=1e-3)


def test_commands_take_the_mended_one(folder, tmp_path):
    out = tmp_path / "mended"
    shown = done(f"calibrate --model {folder} --data digits --method vector --out {out}").stdout
    plain_file = json.loads((out / "calibrate.json").read_text())
    share = plain_file["answered"]["on"]
    assert f"the detector refuses {share['n'] - share['k']}, figures are about the {share['k']} answered" in shown
    assert f"{share['k']} of {share['n']} answered" in (out / "report.html").read_text()
    guard = json.loads((out / "guard.json").read_text())
    assert guard["source"] == json.loads((folder / "guard.json").read_text())["source"]
    line = f"--model {out} --data digits"
    found = plain(f"detect evaluate {line} -n 30 --eps 0.3 --attack pgd:steps=10 --out {tmp_path / 'judged'}")
    assert found["attacks"][0]["adaptive"]["evaded"]["n"] > 20
    again, was = (
        plain(f"detect apply --model {one} --data digits --out {tmp_path / one.name}-applied") for one in (out, folder)
    )
    assert again["refused"] == was["refused"]
    done(f"evaluate {line} -n 30 --eps 0.3 --attack pgd --out {tmp_path / 'evaluated'}")
    assert call(f"calibrate {line} --method none --out {tmp_path / 'again'}").exit_code == 0
    _, text = refused(f"calibrate {line} --quiet --out {tmp_path / 'never'}")
    assert "is recalibrated already, by vector" in text


class Along(models.Suspicion):
    def forward(self, model, x):
        return model(x), x.flatten(1).sum(1)


def test_bad_inputs(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    guarded = Opened(Guarded(net, Along(), 1e9, 1.0, 10), None, "mine")
    pictures = data.load("digits", "test", limit=60)
    assert evaluate.calibrate(guarded, pictures).kept is not None
    with pytest.raises(OptionError, match=r"the guarded model 'mine' is no folder"):
        evaluate.calibrate(guarded, pictures, out=tmp_path)
    none = replace(guarded, model=Guarded(net, Along(), -1.0, 1.0, 10))
    with pytest.raises(DataError, match="the detector refuses all 30 test pictures of digits"):
        evaluate.calibrate(none, pictures)

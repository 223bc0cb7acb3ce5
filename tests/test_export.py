"""A model as one file: it says what the model says, of any number of pictures, read by other programs."""

import copy
import json
import sys

import onnxruntime
import pytest
import torch
from torch import nn

from command_line import plain, refused
from detecting import held_out, trained, training
from holdfast import data, detect, models, train, uncertainty
from holdfast.errors import ModelError, OptionError
from holdfast.models import exporting

ONNX_LACKS = {"gradient-norm", "feature-squeezing", "density", "lid", "mahalanobis"}
REST = [name for name in detect.DETECTORS if name not in ("entropy", "gradient-norm")]
QUICK = {"auxiliary": {"epochs": 4}}


def classifier():
    return copy.deepcopy(trained()).eval()


def pictures(n=11):
    return held_out().x(slice(0, n))


def program(path):
    return torch.export.load(path).module()


def runtime(path):
    session = onnxruntime.InferenceSession(str(path))
    return lambda x: torch.from_numpy(session.run(["logits"], {"pictures": x.numpy()})[0])


@pytest.fixture(scope="module")
def thinned():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.MonteCarloDropout(classifier(), passes=3)


def guard(name, thinned):
    model = thinned if name == "mutual-information" else classifier()
    made = detect.detector(name, QUICK.get(name, {}))
    return detect.fit(made, model, training(), held_out(), false_alarms=0.3).model.eval()


@pytest.mark.parametrize("n", [1, 2, 5, 11])
@pytest.mark.parametrize(("ending", "read"), [("pt2", program), ("onnx", runtime)])
def test_says_what_the_model_says(tmp_path_factory, ending, read, n):
    path = tmp_path_factory.getbasetemp() / f"plain.{ending}"
    if not path.exists():
        found = models.export(classifier(), path, pictures(), {"shape": [1, 8, 8]})
        assert found.bytes == path.stat().st_size
        assert (found.n, found.moved) == (11, 0)
        assert found.difference < 1e-5
    wanted = classifier()(pictures(n)).detach()
    torch.testing.assert_close(read(path)(pictures(n)).detach(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", detect.DETECTORS)
def test_every_guarded_model_decides_the_same_as_a_program(tmp_path, thinned, name):
    model = guard(name, thinned)
    found = models.export(model, tmp_path / "guarded.pt2", pictures())
    assert (found.difference, found.moved) == (0, 0)
    with torch.no_grad():
        wanted = model(held_out().x())
        answer = program(tmp_path / "guarded.pt2")(held_out().x())
    assert answer.shape[1] == 11
    assert 0 < int((answer.argmax(1) == 10).sum()) < len(answer)
    assert torch.equal(answer.argmax(1), wanted.argmax(1))
    torch.testing.assert_close(answer, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["entropy", "gradient-norm", *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
def test_guarded_models_become_onnx_or_say_what_it_lacks(tmp_path, thinned, name):
    model = guard(name, thinned)
    path = tmp_path / "guarded.onnx"
    if name in ONNX_LACKS:
        with pytest.raises(ModelError, match=r"operation that ONNX does not know \(.*aten.*\); allowed: .* \.pt2 file"):
            models.export(model, path, pictures())
        assert not path.exists()
        return
    models.export(model, path, pictures())
    with torch.no_grad():
        wanted = model(held_out().x())
    torch.testing.assert_close(runtime(path)(held_out().x()), wanted, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_classifier_without_convolutions_becomes_onnx(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    made = detect.fit(detect.detector("gradient-norm"), model, training(), held_out(), false_alarms=0.3).model.eval()
    assert models.export(made, tmp_path / "guarded.onnx", pictures()).difference < 1e-4
    read = runtime(tmp_path / "guarded.onnx")(held_out().x())
    torch.testing.assert_close(read, made(held_out().x()).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", uncertainty.RECALIBRATIONS)
def test_the_map_of_a_recalibrated_model_goes_along(tmp_path, name):
    known = uncertainty.answers(classifier(), held_out()), held_out().labels
    (outcome,) = uncertainty.recalibrate([uncertainty.build(name)], known, known)
    model = models.Recalibrated(classifier(), outcome.map)
    assert models.export(model, tmp_path / "mended.pt2", pictures()).difference == 0


def test_a_defence_by_rounding_goes_along(tmp_path):
    model = models.Defended(classifier(), [models.BitDepth(2)]).eval()
    models.export(model, tmp_path / "rounded.pt2", pictures())
    answer = program(tmp_path / "rounded.pt2")(pictures())
    torch.testing.assert_close(answer, model(pictures()), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(answer, model.model(pictures()))


def test_the_file_tells_what_it_is(tmp_path):
    told = {"classes": ["a", "b"], "refused": None}
    models.export(classifier(), tmp_path / "a.pt2", pictures(), told)
    models.export(classifier(), tmp_path / "a.onnx", pictures(), told)
    kept = {"holdfast.json": ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=kept)
    assert json.loads(kept["holdfast.json"]) == told
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    assert json.loads(session.get_modelmeta().custom_metadata_map["holdfast.json"]) == told


def test_the_model_is_left_as_it_was(tmp_path):
    model = classifier().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    models.export(model, tmp_path / "a.pt2", pictures())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_file_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    made = exporting._program
    monkeypatch.setattr(exporting, "_program", lambda model, x: made(other, x))
    with pytest.raises(ModelError, match=r"off the model's; allowed: 0\.0001"):
        models.export(classifier(), tmp_path / "a.pt2", pictures())
    assert not list(tmp_path.iterdir())


class Centred(nn.Module):
    def forward(self, x):
        return x.flatten(1) - x.flatten(1).mean(0)


class Forked(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class Counted(nn.Module):
    def forward(self, x):
        return torch.ones(len(x), 1) * x.flatten(1)  # `len` is a number, and so that of the traced pictures


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Centred(), "treats each picture alike"),
        (Forked(), "cannot be traced"),
        (Counted(), "cannot be traced"),
        (models.Defended(nn.Flatten(), [models.GaussianNoise(0.1)]), "random, in steps.0"),
    ],
)
def test_models_that_no_file_can_stand_for(tmp_path, model, told):
    with pytest.raises(ModelError, match=told):
        models.export(model, tmp_path / "a.pt2", pictures())
    assert not list(tmp_path.iterdir())


class Fails(nn.Module):
    def forward(self, x):
        raise ValueError("boom\nand more")


class Remembers(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))
        self.double = self.weight * 2  # no leaf, and such cannot be copied

    def forward(self, x):
        return x.flatten(1) * self.double


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Fails(), r"ValueError: boom\)"),
        (Remembers(), "RuntimeError: Only Tensors created explicitly"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double(), r"\(11, 1, 8, 8\) of torch.float32 \(RuntimeError"),
    ],
)
def test_models_that_cannot_be_asked(tmp_path, model, told):
    with pytest.raises(ModelError, match=f"^a copy of the model on the CPU fails on .*{told}.*; allowed: .*$"):
        models.export(model, tmp_path / "a.pt2", pictures())


def test_a_model_of_another_float_type_is_a_program_or_told_what_onnx_lacks(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).bfloat16()
    assert models.export(model, tmp_path / "a.pt2", pictures().bfloat16()).difference == 0
    with pytest.raises(ModelError, match=r"^the file for .* cannot be read back .*; allowed: .* float\(\)\.$"):
        models.export(model, tmp_path / "a.onnx", pictures().bfloat16())
    doubled = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    assert models.export(doubled, tmp_path / "b.onnx", pictures().double()).difference < 1e-12
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pt2", "b.onnx"]


def test_bad_inputs(tmp_path):
    with pytest.raises(OptionError, match=r"allowed: a name that ends in \.pt2 or \.onnx"):
        models.export(classifier(), tmp_path / "a.pth", pictures())
    with pytest.raises(OptionError, match=r"2 pictures .* allowed: 3 or more"):
        models.export(classifier(), tmp_path / "a.pt2", pictures(2))
    (tmp_path / "a.pt2").write_bytes(b"mine")
    with pytest.raises(OptionError, match="is there already"):
        models.export(classifier(), tmp_path / "a.pt2", pictures())
    assert (tmp_path / "a.pt2").read_bytes() == b"mine"


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_without_the_packages_for_onnx_it_says_how_to_get_them(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf"needs the package {package}.*holdfast\[onnx\]"):
        models.export(classifier(), tmp_path / "a.onnx", pictures())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    known = data.load("digits", "train")
    recipe = train.Recipe(options=train.TrainOptions(epochs=1))
    card = train.card_for("cnn", known)
    made = train.train(card, known, recipe=recipe)
    models.save(folder / "run", made.model, card)
    return folder


def test_command_line(run, tmp_path):
    found = plain(f"export --model {run / 'run'} --data digits --out", tmp_path / "a.pt2")
    assert (found["logits"], found["refused"], found["moved"]) == (10, None, 0)
    plain(f"detect fit --model {run / 'run'} --data digits --detector entropy --out", tmp_path / "guard")
    told = plain(f"export --model {tmp_path / 'guard'} --data digits -n 20 --out", tmp_path / "b.onnx")
    assert (told["logits"], told["refused"], told["n"]) == (11, 10, 20)
    code, text = refused(f"export --model {run / 'run'} --data digits --out", tmp_path / "a.pt2")
    assert code == 2
    assert "is there already" in text

"""Evaluations against turns, deformations and colours: what is written, resumed, merged, checked and shown."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from evaluate_models import digits, honest
from holdfast import report, train
from holdfast.attacks import FMN, PGD, Grid, WorstOfK
from holdfast.cli import app
from holdfast.errors import OptionError
from holdfast.evaluate import SUITES, evaluate, merge
from holdfast.evaluate.landscape import PICTURES
from holdfast.report.run import read
from holdfast.threats import Colour, Flow, Rotation
from holdfast.train import Adversary, Recipe, TrainOptions, card_for

N = 80
ROW = SUITES["quick"].within(Rotation(eps=1.0))


TURNS = Rotation(eps=30.0)


def run(out=None, threat=TURNS, attack=ROW, **options):
    given = {"eps": (10.0, 30.0), "batch": 50, "shard_size": 40, "stand_in": "off", "checks": False, **options}
    return evaluate(honest("cnn"), digits().take(slice(0, N)), threat, attack, out=out, **given)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(tmp_path_factory.mktemp("rendered") / "run")


def shards(path):
    return [load_file(file) for file in sorted((path / "shards").glob("*.safetensors"))]


def test_verified_pictures_are_kept_with_what_made_them(found):
    assert found.robust.k < found.clean.k
    assert next(check for check in found.checks if check.name == "verified").verdict == "pass"
    for shard in shards(found.run):
        rows, x_adv, at = (shard[f"adv.1.{name}"] for name in ("rows", "x", "parameters"))
        assert len(rows) == len(x_adv) == len(at) > 0
        original = shard["x"][rows].float() / (255 if shard["x"].dtype == torch.uint8 else 1)
        torch.testing.assert_close(Rotation(eps=30.0).render(original, at), x_adv)
        torch.testing.assert_close(at.abs().flatten(1).amax(1).double(), shard["size"][1][rows])


def test_run_says_which_threat(found):
    threat = json.loads((found.run / "run.json").read_text())["options"]["threat"]
    assert threat == {
        "name": "rotation",
        "eps": [10.0, 30.0],
        "low": 0.0,
        "high": 1.0,
        "shift": 1 / 300,
        "border": "black",
    }


def test_landscape_is_in_the_first_shard_and_in_the_report(found):
    first, second = shards(found.run)
    assert len(first["landscape.margin"]) == PICTURES
    assert "landscape.margin" not in second
    right = first["landscape.margin"][:, 15, 5] > 0  # neither turned nor shifted
    assert torch.equal(right, (first["prediction"] == first["label"])[:PICTURES])
    assert (first["landscape.margin"] > 0).double().mean() < right.double().mean()
    page = report.write([found.run]).read_text()
    assert "Right by angle and shift" in page
    assert read(found.run).records.landscape().margin.shape == (PICTURES, 31, 11)


def test_resumed_and_merged_runs_have_the_same_bytes(found, tmp_path):
    first = run(tmp_path / "again")
    next((first.run / "shards").glob("*")).unlink()
    (first.run / "summary.json").unlink()
    again = run(tmp_path / "again", resume=True)
    parts = [run(tmp_path / f"part{i}", shard=(i, 2)).run for i in (1, 2)]
    merged = merge(parts, out=tmp_path / "merged")
    for other in (again.run, merged.run):
        for file in ("records.csv", "summary.json"):
            assert (other / file).read_bytes() == (found.run / file).read_bytes(), file
        for mine, theirs in zip(
            sorted((found.run / "shards").iterdir()), sorted((other / "shards").iterdir()), strict=True
        ):
            assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("threat", [Rotation(eps=30.0), Flow(eps=1.0), Colour(eps=0.3)], ids=lambda t: t.name)
def test_an_honest_network_is_believed(threat):
    suite = SUITES["standard" if isinstance(threat, Rotation) else "quick"]
    made = run(threat=threat, attack=suite.within(threat), eps=None, checks=True)
    assert made.believe, made.because
    verdicts = {check.name: check.verdict for check in made.checks}
    assert verdicts["verified"] == "pass"
    assert verdicts["ascent"] == verdicts["unbounded"] == verdicts["noise"] == verdicts["binarisation"] == "skipped"


def test_a_weak_attack_is_not_believed():
    """Gradients from the picture as it is, where a grid finds far more."""
    attack = PGD(steps=3, random_start=False)
    made = run(attack=attack, eps=None, checks=True)
    best = run(attack=Grid(angles=9, shifts=3), eps=None)
    assert best.robust.k < made.robust.k - 8
    assert not made.believe
    assert "scores-only" in made.because


def test_a_model_that_all_turns_leave_alike_only_warns():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1).sum(1) * 0, x.flatten(1).sum(1) * 0 - 1], 1)

    pictures = digits().take(slice(0, 40))
    pictures = type(pictures)(**{**vars(pictures), "labels": torch.zeros_like(pictures.labels)})
    made = evaluate(Mean(), pictures, Rotation(eps=30.0), WorstOfK(), batch=50)
    (check,) = [check for check in made.checks if check.name == "did-something"]
    assert check.verdict == "warn"


def test_the_smallest_turn_of_each_picture(tmp_path):
    made = run(tmp_path / "run", attack=FMN(steps=50))
    assert made.summary["sought"]
    assert made.summary["relative_size"] is None
    assert 0 < made.size["q25"] <= made.size["median"]
    assert np.isfinite(made.size["q25"])
    sizes = made.records["smallest"]
    finite = sizes[sizes.isfinite() & (sizes > 0)]
    assert int((finite <= 10).sum()) == made.clean.k - made.curve[0].robust.k
    report.write([made.run])


def test_radius_beyond_all_turns_is_refused():
    with pytest.raises(OptionError, match="eps=200; allowed: up to 180 degrees"):
        run(eps=200.0)
    with pytest.raises(OptionError, match="eps=9; allowed: up to 8 pixels, the most that flow knows"):
        run(threat=Flow(eps=1.0), eps=9.0)
    with pytest.raises(OptionError, match="eps=20; allowed: up to 8 pixels"):
        run(threat=Flow(eps=1.0), eps=20.0)


def test_training_against_turns_holds_better():
    pictures, held_out = digits("train"), digits().take(slice(0, 100))
    options = TrainOptions(epochs=6)
    threat = Rotation(eps=25.0)
    robust = []
    for attack in (None, WorstOfK(k=4)):
        adversary = None if attack is None else Adversary(PGD(steps=3, step_size=0.5), threat)
        recipe = Recipe(options=options, adversary=adversary)
        trained = train.train(card_for("mlp", pictures), pictures, recipe=recipe)
        made = evaluate(trained.model, held_out, threat, [WorstOfK(k=30)], checks=False, batch=100)
        robust.append(made.robust.k)
    assert robust[1] > robust[0] + 5


def test_from_the_command_line(tmp_path):
    trained = tmp_path / "net"
    pictures = digits("train")
    train.train(card_for("linear", pictures), pictures, recipe=Recipe(options=TrainOptions(epochs=2)), out=trained)
    line = f"evaluate --model {trained} --data digits --limit 40 --threat rotation --threat-set border=edge --eps 20"
    done = CliRunner().invoke(app, [*line.split(), "--json", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["threat"]["border"] == "edge"
    assert math.isclose(told["eps"][0], 20)
    attack = f"attack --model {trained} --data digits --limit 4 --threat flow --eps 1 --out {tmp_path / 'attack'}"
    done = CliRunner().invoke(app, attack.split())
    assert done.exit_code == 0, done.output
    assert "at flow 1" in done.output
    with np.load(tmp_path / "attack" / "arrays.npz") as made:
        assert made["parameters"].shape == (4, 2, 8, 8)

"""The comparison of turns and shifts counts what it says."""

import pytest
import torch
from bench import spatial

from evaluate_models import digits, honest
from holdfast.attacks import Grid
from holdfast.threats import Rotation


@pytest.fixture(scope="module")
def case():
    model, pictures = honest("cnn"), digits()
    model.eval()
    x, y = pictures.x(slice(0, 60)), pictures.labels[:60]
    with torch.no_grad():
        right = model(x).argmax(1) == y
    return model, x[right], y[right]


def test_broken_pictures_and_passes_are_counted(case):
    model, x, y = case
    idle = spatial.measured(lambda model, x, y: x, model, x, y)
    assert (idle["broken"], idle["n"], idle["passes"]) == (0, len(x), 0)
    grid = spatial.measured(spatial.by_ours([Grid(angles=3, shifts=1)], Rotation(eps=60.0)), model, x, y)
    assert 0 < grid["broken"] <= len(x)
    assert 1 < grid["passes"] <= 4


def test_the_threat_is_the_one_that_the_text_names():
    made = spatial.makes(torch.zeros(1, 1, 28, 28), {})
    assert all(name.startswith("holdfast") for name in made)
    x = torch.zeros(1, 1, 28, 28)
    x[0, 0, 10, 10] = 1
    threat = Rotation(eps=spatial.DEGREES, shift=spatial.PIXELS / 28 / spatial.DEGREES)
    moved = threat.render(x, torch.tensor([0.0, 30.0, -30.0]).view(1, 3, 1, 1))
    assert moved[0, 0].round().nonzero().tolist() == [[13, 7]]


@pytest.mark.bridges
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # theirs
def test_others_over_the_same_grid_break_as_many(case):
    model, x, y = case
    made = spatial.makes(x, {"foolbox": "", "art": ""})
    assert {name.split()[0] for name in made} == {"holdfast", "foolbox", "art"}
    found = {
        name: spatial.measured(make, model, x, y)
        for name, make in made.items()
        if "5 x 5 x 5" in name and "31" not in name
    }
    ours, theirs = found["holdfast grid 5 x 5 x 5"], found["foolbox SpatialAttack 5 x 5 x 5"]
    assert abs(ours["broken"] - theirs["broken"]) <= 3  # interpolations differ
    assert max(ours["passes"], theirs["passes"]) <= 1 + 5**3
    assert found["art SpatialTransformation 5 x 5 x 5"]["broken"] <= ours["broken"]

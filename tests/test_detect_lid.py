"""Local intrinsic dimension: against its formula, the dimension of what has one, and scikit-learn's regression."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import detecting
from detecting import check_restored, check_slope, check_split, evaded, fitted, separation, slope, suspected
from holdfast.detect import LID, detector
from holdfast.detect.features import known_features, shuffled, squares
from holdfast.detect.lid import dimension, separated
from holdfast.errors import DataError, ModelError, OptionError

OPTIONS = {"eps": 0.15, "reference": 300, "attacked": 120}


@pytest.fixture(scope="module")
def beside():
    """A classifier in float64, and the detector of all layers beside it."""
    model = detecting.doubled()
    return model, LID(**OPTIONS, layers=("all",)).fit(model, detecting.training(), seed=1)


def by_hand(rows, reference, k):
    distances = NearestNeighbors(n_neighbors=k).fit(reference).kneighbors(rows)[0]
    return -1 / np.log(distances / distances[:, -1:]).mean(1)


@pytest.mark.parametrize("k", [2, 7, 50])
def test_it_is_the_formula(k):
    draw = torch.Generator().manual_seed(0)
    rows, reference = (torch.randn(n, 6, generator=draw, dtype=torch.float64) for n in (20, 50))
    np.testing.assert_allclose(dimension(squares(rows, reference), k), by_hand(rows, reference, k), rtol=1e-9)


@pytest.mark.parametrize("wide", [1, 3, 8])
def test_within_a_subspace_it_is_its_dimension(wide):
    draw = torch.Generator().manual_seed(wide)
    onto = torch.linalg.qr(torch.randn(12, wide, generator=draw, dtype=torch.float64)).Q
    spread = torch.rand(20000, wide, generator=draw, dtype=torch.float64)
    # Near the middle: at the sides, half the directions end.
    asked = 0.5 + 0.1 * torch.rand(200, wide, generator=draw, dtype=torch.float64)
    assert dimension(squares(asked @ onto.T, spread @ onto.T), 50).mean() == pytest.approx(wide, rel=0.1)


def test_copies_and_equal_distances_have_a_dimension_and_a_gradient():
    reference = torch.eye(6, dtype=torch.float64)
    points = torch.cat([torch.zeros(1, 6, dtype=torch.float64), reference[:1]]).requires_grad_()
    found = dimension(squares(points, reference.repeat(2, 1)), 4)
    assert found[0].item() == pytest.approx(1e4)  # all are equally far
    expected = -1 / (2 * math.log(1e-15 / math.sqrt(2)) / 4)  # two copies and two others
    assert found[1].item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(found.sum(), points)
    assert gradient.isfinite().all()


def test_the_suspicion_is_the_decision_value_of_all_layers(beside):
    model, suspicion = beside
    assert suspicion.layers == ["5", "8"]  # what the first layer is given is the picture
    x = detecting.held_out().x(slice(50), torch.float64)
    own = known_features(model, x, suspicion.layers)
    values = [by_hand(rows, suspicion.get_buffer(f"rows_{number}"), 20) for number, rows in enumerate(own)]
    expected = np.stack(values, 1) @ suspicion.weight.numpy() + float(suspicion.bias)
    np.testing.assert_allclose(suspected(suspicion, model, x), expected, rtol=1e-8)


def test_clean_and_noisy_pictures_are_learnt_to_be_harmless(beside):
    """A regression with a free intercept gives, over what it learnt from, the share of attacked ones: a third."""
    model, suspicion = beside
    pictures = detecting.training()
    groups = LID(**OPTIONS).opposed(model, pictures.take(shuffled(pictures, 1)[300:420]), 1, 256)
    clean, noisy, adversarial = (suspected(suspicion, model, x).sigmoid().mean().item() for x in groups)
    assert (clean + noisy + adversarial) / 3 == pytest.approx(1 / 3, abs=1e-3)
    assert adversarial > max(clean, noisy)


def test_distances_keep_their_digits_far_from_the_origin():
    rows = 1e4 + torch.rand(40, 6, generator=torch.Generator().manual_seed(6))
    expected = ((rows[:, None].double() - rows.double()) ** 2).sum(-1)
    torch.testing.assert_close(squares(rows, rows), expected, rtol=1e-12, atol=0)


def test_the_regression_is_that_of_scikit_learn():
    draw = torch.Generator().manual_seed(5)
    values = 30 * torch.randn(90, 3, generator=draw, dtype=torch.float64) + 7
    values[:, 2] = 4  # a layer whose dimension never changes
    attacked = torch.arange(90) >= 60
    values[attacked, 0] += 20
    found = separated(values, attacked)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(values.numpy(), attacked.numpy())
    np.testing.assert_allclose(
        values @ found["weight"] + found["bias"], oracle.decision_function(values.numpy()), rtol=1e-8
    )
    assert found["weight"][0] > 0 == found["weight"][2]


def test_what_is_learnt_from_is_apart_right_turned_and_as_noisy_as_attacked():
    pictures, model, of = detecting.training(), detecting.trained(), LID(**OPTIONS)
    suspicion = of.fit(model, pictures, seed=4)
    order = shuffled(pictures, 4)
    assert sorted(order.tolist()) == list(range(len(pictures)))
    rest = pictures.take(order[300:420])
    (known,) = known_features(model, pictures.take(order[:300]), ["8"])
    assert torch.equal(suspicion.rows_0, known)
    x, noisy, adversarial = of.opposed(model, rest, 4, 256)
    assert 10 <= len(x) == len(noisy) == len(adversarial) <= 120
    assert (adversarial - x).abs().max() <= 0.15 + 1e-6
    with torch.no_grad():
        model.eval()
        own, turned = model(x).argmax(1), model(adversarial).argmax(1)
        model.train()
    label = {row.numpy().tobytes(): int(y) for row, y in zip(rest.x(), rest.labels)}
    assert own.tolist() == [label[row.numpy().tobytes()] for row in x]
    assert (own != turned).all()
    sizes = [(other - x).flatten(1).norm(dim=1) for other in (noisy, adversarial)]
    assert (sizes[0] <= sizes[1] + 1e-5).all()  # the box takes some of the noise
    assert sizes[0].mean() > 0.6 * sizes[1].mean()


def test_row_order_does_not_matter_and_the_seed_does():
    pictures, model = detecting.training(), detecting.trained()
    one = LID(**OPTIONS).fit(model, pictures, seed=1)
    other = LID(**OPTIONS).fit(model, pictures.take(torch.arange(len(pictures)).flip(0)), seed=1, batch=64)
    x = detecting.held_out().x()
    torch.testing.assert_close(suspected(one, model, x), suspected(other, model, x), rtol=1e-3, atol=1e-3)
    further = LID(**OPTIONS).fit(model, pictures, seed=2)
    assert not torch.equal(suspected(one, model, x), suspected(further, model, x))


def test_the_gradient_is_that_of_differences_and_finite_at_the_reference(beside):
    model, suspicion = beside
    check_slope(suspicion, model, detecting.smooth_at(12))
    reference = detecting.training().take(shuffled(detecting.training(), 1)[:6]).x(None, torch.float64)
    assert slope(suspicion, model, reference).isfinite().all()


def test_restored_and_split():
    for layers in ("", "5", "5,8", "all"):
        found = fitted("lid", {**OPTIONS, "layers": layers})
        check_restored(found.detector, found.model.suspicion, detecting.trained(), detecting.held_out())
        check_split(found.model.suspicion, detecting.trained(), detecting.held_out().x())
    with pytest.raises(RuntimeError, match="rows_1"):
        found.detector.outline(detecting.trained(), (1, 8, 8)).restore({"rows_0": torch.zeros(1)})


def test_it_finds_attacks_and_falls_to_those_who_know_it():
    found = fitted("lid", OPTIONS)
    clean, adversarial = detecting.attacked()
    assert separation(found.model.suspicion, detecting.trained(), clean, adversarial) > 0.75
    pictures = detecting.held_out().take(slice(40))
    broken, of = evaded(found.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * of > 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"k": "1"}, "k=1; allowed: a whole number from 2"),
        ({"reference": "20"}, "reference=20; allowed: more than k=20"),
        ({"attacked": "3"}, "attacked=3"),
        ({"layers": "5,5"}, "each layer once"),
        ({"eps": "0"}, "eps=0.0; allowed: above 0"),
        ({"norm": "l3"}, "norm='l3'"),
        ({"attack": "pdg"}, "unknown attack 'pdg'"),
    ],
)
def test_wrong_options_are_told(options, said):
    with pytest.raises(OptionError, match=said):
        detector("lid", options)


def test_what_cannot_be_fitted_is_told():
    model, pictures = detecting.trained(), detecting.training()
    with pytest.raises(DataError, match="fitted on 41 pictures; allowed: 42 or more with k=20"):
        LID().fit(model, pictures.take(slice(41)))
    with pytest.raises(DataError, match="no adversarial pictures found: pgd within linf eps=1e-05"):
        LID(eps=1e-5, attacked=120).fit(model, pictures)
    with pytest.raises(DataError, match=r"pgd at linf eps=0.02 turns [1-9] of 120 training pictures; allowed: 10"):
        LID(eps=0.02, attacked=120).fit(model, pictures)
    with pytest.raises(ModelError, match="'7' is no linear or convolutional layer of the model; it has: '0', '5', '8'"):
        LID(layers=("7",)).fit(model, pictures)
    with pytest.raises(ModelError, match="no layer after its first"):
        LID(layers=("all",)).fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), pictures)


class Twice(nn.Module):
    """Asks one layer twice."""

    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x):
        return self.last(self.inner(self.inner(self.first(x.flatten(1)).relu()).relu()).relu())


def test_a_layer_that_is_asked_twice_has_no_one_input():
    assert LID(layers=("all",)).outline(Twice(), (1, 8, 8)).layers == ["last"]
    with pytest.raises(ModelError, match=r"'inner' was given \(256, 16\), \(256, 16\) in one pass of 256"):
        LID(layers=("inner",), **OPTIONS).fit(Twice(), detecting.training())

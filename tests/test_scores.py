"""Scores of suspicion: each against its formula, and all against what every score must keep."""

import math

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors
from torch import nn

from holdfast import data, models, uncertainty
from holdfast.data import Pictures
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.uncertainty import SCORES, score
from holdfast.uncertainty.reading import Reader, last_layer
from holdfast.uncertainty.scores import Batch, Head
from holdfast.uncertainty.scores.interface import Moments

OPTIONS = {"nearest": {"k": 3}, "vim": {"dimensions": 4}}
FITTING = [name for name in SCORES if name != "mutual-information"]
CLASSES = 3


def made(n=240, width=12, seed=0):
    """Features in three clusters and the logits of a linear head."""
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(CLASSES, width, generator=draw, dtype=torch.float64)
    head = Head("linear", weight, torch.randn(CLASSES, generator=draw, dtype=torch.float64))
    labels = torch.arange(n) % CLASSES
    features = (2 * weight[labels] + torch.randn(n, width, generator=draw)).relu()
    return head, batch_of(head, features, labels)


def batch_of(head, features, labels=None):
    logits = features.double() @ head.weight.T + head.bias
    known = torch.full((len(features),), -1) if labels is None else labels
    return Batch(logits, features, known, torch.stack([logits, 2 * logits - 1]))


def parts(batch, size):
    columns = zip(
        *(
            t.split(size, 1 if t is batch.members else 0)
            for t in (batch.logits, batch.features, batch.labels, batch.members)
        )
    )
    return [Batch(*column) for column in columns]


@pytest.fixture(scope="module")
def known():
    return made()


every = pytest.mark.parametrize("name", SCORES)


def fitted(name, known, size=240):
    head, batch = known
    return score(name, OPTIONS.get(name)).fit(head, parts(batch, size))


@every
def test_scores_are_finite_double_and_one_a_picture(name, known):
    found = fitted(name, known)(known[1])
    assert found.shape == (240,)
    assert found.dtype == torch.float64
    assert found.isfinite().all()


@every
def test_batches_of_fitting_and_of_scoring_do_not_matter(name, known):
    whole = fitted(name, known)(known[1])
    split = fitted(name, known, size=7)
    torch.testing.assert_close(torch.cat([split(part) for part in parts(known[1], 11)]), whole, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("name", [n for n in FITTING if n != "nearest"])
def test_float64_features_agree(name, known):
    head, batch = known
    doubled = Batch(batch.logits.double(), batch.features.double(), batch.labels, batch.members)
    torch.testing.assert_close(fitted(name, known)(batch), fitted(name, (head, doubled))(doubled), atol=1e-5, rtol=1e-5)


@every
def test_pictures_far_from_training_are_more_suspicious(name, known):
    """Features near 0 say nothing of any class; for distances, features far away in an odd direction are the ones."""
    head, _ = known
    by_logits = SCORES[name].needs != "features" or name == "react"
    odd = (
        torch.full((5, 12), 0.01)
        if by_logits
        else 10 * torch.randn(5, 12, generator=torch.Generator().manual_seed(9)).abs().roll(1)
    )
    usual = fitted(name, known)(known[1]).median()
    batch = batch_of(Head("linear", head.weight, 0 * head.bias), odd) if by_logits else batch_of(head, odd)
    if name == "mutual-information":
        apart = torch.stack([torch.eye(3)[[0] * 5] * 9, torch.eye(3)[[1] * 5] * 9])
        batch = Batch(batch.logits, batch.features, batch.labels, apart)
    assert (fitted(name, known)(batch) > usual).all()


# Each against its formula


def test_formulas_of_logits():
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    batch = Batch(logits, logits[:, :0], torch.tensor([-1, -1]), logits[None])
    p = np.exp(logits.numpy())
    p /= p.sum(1, keepdims=True)

    def of(name, **options):
        return score(name, options).fit(None, [])(batch).numpy()

    np.testing.assert_allclose(of("max-probability"), 1 - p.max(1))
    np.testing.assert_allclose(of("entropy"), -(p * np.log(p)).sum(1))
    np.testing.assert_allclose(of("max-logit"), [-2.0, 0.0])
    np.testing.assert_allclose(of("energy"), -np.log(np.exp(logits.numpy()).sum(1)))
    np.testing.assert_allclose(of("energy", temperature=4.0), -4 * np.log(np.exp(logits.numpy() / 4).sum(1)))
    np.testing.assert_allclose(of("gen"), (p**0.1 * (1 - p) ** 0.1).sum(1))
    two = np.sort(p, 1)[:, 1:]
    np.testing.assert_allclose(of("gen", top=2, exponent=0.5), (two * (1 - two)).__pow__(0.5).sum(1))
    np.testing.assert_allclose(of("mutual-information"), 0, atol=1e-15)


def test_the_surest_predictions_are_still_told_apart():
    logits = torch.tensor([[0.0, -40.0], [0.0, -50.0], [0.0, -60.0]])
    batch = Batch(logits, logits[:, :0], torch.full((3,), -1), logits[None])
    for name in ("max-probability", "entropy", "gen"):
        found = score(name).fit(None, [])(batch)
        assert found[0] > found[1] > found[2] > 0, name
    np.testing.assert_allclose(score("max-probability").fit(None, [])(batch)[2], math.exp(-60), rtol=1e-6)


def test_mahalanobis_is_that_of_scikit_learn(known):
    head, batch = known
    rows, labels = batch.features.double(), batch.labels
    means = torch.stack([rows[labels == c].mean(0) for c in range(CLASSES)])
    oracle = EmpiricalCovariance(assume_centered=True).fit((rows - means[labels]).numpy())
    asked = torch.randn(20, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = np.min([oracle.mahalanobis((asked - mean).numpy()) for mean in means], 0)
    np.testing.assert_allclose(fitted("mahalanobis", known, 7)(batch_of(head, asked)), expected, rtol=1e-8)


def test_mahalanobis_of_a_gaussian_is_chi_squared():
    draw = torch.Generator().manual_seed(2)
    rows = torch.randn(4000, 5, generator=draw) @ torch.randn(5, 5, generator=draw)
    head = Head("linear", torch.zeros(2, 5, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    batch = batch_of(head, rows, torch.arange(4000) % 2)
    found = score("mahalanobis").fit(head, [batch])(batch)
    assert found.mean() == pytest.approx(5, abs=0.15)  # of 5 degrees of freedom
    assert found.var() == pytest.approx(10, abs=1.2)


def test_dead_units_are_left_out_and_moments_keep_their_digits():
    moments = Moments(2, 3)
    rows = 1e8 + torch.randn(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rows[:, 2] = 0
    group = torch.arange(300) % 2
    for a, b in zip(rows.split(7), group.split(7)):
        moments.see(a, b)
    own = sum(
        (rows[group == g] - rows[group == g].mean(0)).T @ (rows[group == g] - rows[group == g].mean(0)) for g in (0, 1)
    )
    torch.testing.assert_close(moments.scatter, own, rtol=1e-6, atol=1e-6)
    head = Head("linear", torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    fitted = score("mahalanobis").fit(head, [batch_of(head, rows, group)])
    assert fitted.whiten.shape == (3, 2)
    assert fitted(batch_of(head, rows)).isfinite().all()


@pytest.mark.parametrize("k", [1, 3, 50])
def test_nearest_is_that_of_scikit_learn(known, k, monkeypatch):
    from holdfast.uncertainty.scores import nearest

    monkeypatch.setattr(nearest, "AT_ONCE", 64)  # several blocks
    head, batch = known
    asked = torch.randn(30, 12, generator=torch.Generator().manual_seed(4))
    rows, points = (nn.functional.normalize(t.double(), dim=1).numpy() for t in (batch.features, asked))
    distances, _ = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(points)
    found = score("nearest", {"k": k}).fit(head, parts(batch, 9))(batch_of(head, asked))
    np.testing.assert_allclose(found, distances[:, -1], atol=1e-4)


def test_vim_is_its_definition(known):
    head, batch = known
    rows = batch.features.double().numpy()
    weight, bias = head.weight.numpy(), head.bias.numpy()
    centred = rows + np.linalg.pinv(weight) @ bias
    _, directions = np.linalg.eigh(centred.T @ centred)
    rest = np.linalg.norm(centred @ directions[:, :8], axis=1)
    logits = batch.logits.double().numpy()
    alpha = logits.max(1).sum() / rest.sum()
    virtual = np.exp(alpha * rest)
    probability = virtual / (np.exp(logits).sum(1) + virtual)
    found = fitted("vim", known, 7)(batch)
    np.testing.assert_allclose(1 / (1 + np.exp(-found.numpy())), probability, rtol=1e-6)


def test_react_cuts_at_the_quantile_and_leaves_the_rest(known):
    head, batch = known
    cut = np.quantile(batch.features.numpy(), 0.9)
    features = np.minimum(batch.features.numpy().astype(float), cut)
    logits = features @ head.weight.numpy().T + head.bias.numpy()
    np.testing.assert_allclose(fitted("react", known, 7)(batch), -np.log(np.exp(logits).sum(1)), rtol=1e-6)
    whole = score("react", {"share": 1.0}).fit(head, [batch])(batch)
    torch.testing.assert_close(whole, score("energy").fit(None, [])(batch))


# What is refused


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("energy", {"temperature": 0}, "temperature=0"),
        ("gen", {"exponent": 1.0}, "0 < exponent < 1"),
        ("gen", {"top": 0}, "whole numbers >= 1"),
        ("nearest", {"k": 0}, "k=0"),
        ("vim", {"dimensions": 0}, "dimensions=0"),
        ("react", {"share": 1.5}, "share=1.5"),
        ("mahalanobis", {"least": 0.0}, "least=0"),
        ("nearst", {}, "Did you mean 'nearest'"),
    ],
)
def test_wrong_options_are_told(name, options, said):
    with pytest.raises(OptionError, match=said):
        score(name, options)


def test_too_little_to_fit_on_is_told(known):
    head, batch = known
    few = Batch(batch.logits[:2], batch.features[:2], batch.labels[:2], batch.members[:, :2])
    with pytest.raises(DataError, match="k=50: fitted on 2 pictures; allowed: 50"):
        score("nearest").fit(head, [few])
    with pytest.raises(DataError, match="allowed: 4 or more"):
        score("mahalanobis").fit(head, [few])
    missing = Batch(batch.logits, batch.features, batch.labels.clamp_max(1), batch.members)
    with pytest.raises(DataError, match="no training picture of class 2"):
        score("mahalanobis").fit(head, [missing])
    with pytest.raises(OptionError, match="fewer than the width"):
        score("vim", {"dimensions": 12}).fit(head, [batch])
    with pytest.raises(DataError, match="Give more training pictures, or fewer dimensions"):
        score("vim", {"dimensions": 11}).fit(head, [few])


def test_the_energy_of_log_probabilities_is_refused(known):
    logs = known[1].logits.log_softmax(1)
    with pytest.raises(ModelError, match="log-probabilities"):
        score("energy").fit(None, [Batch(logs, logs[:, :0], known[1].labels, logs[None])])


# On models


@pytest.fixture(scope="module")
def net():
    return models.build("cnn", {"width": 0.5}, shape=(1, 8, 8), classes=10, mean=[0.5], std=[0.3], seed=0).eval()


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", "train", limit=200)


def test_features_are_the_input_of_the_last_linear_layer(net, digits):
    name = last_layer(net, digits.x([0, 1]))
    assert name == "model.linear"
    batch = Reader(net, name).read(digits.x([0, 1, 2]))
    part = net.get_submodule(name)
    torch.testing.assert_close(part(batch.features), batch.logits)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in net.modules())


def test_a_named_layer_is_listened_to_and_an_unknown_one_is_told(net, digits):
    assert last_layer(net, digits.x([0]), "model.linear1") == "model.linear1"
    with pytest.raises(ModelError, match=r"no linear layer of the model; it has: 'model.linear1', 'model.linear'"):
        last_layer(net, digits.x([0]), "linear")


@pytest.mark.parametrize(
    "model",
    [nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten()), nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))],
    ids=["convolution last", "softmax last"],
)
def test_a_model_without_a_linear_last_layer_is_told(model, digits):
    with pytest.raises(ModelError, match="no linear layer gives the answer"):
        uncertainty.fit(score("mahalanobis"), model, digits)
    assert uncertainty.fit(score("entropy"), model, digits).score(digits.x([0])).isfinite().all()


def test_distances_at_a_hidden_layer_go_by_the_classes_of_the_model(net, digits):
    detector = uncertainty.fit(score("mahalanobis"), net, digits, layer="model.linear1")
    assert detector.fitted.means.shape[0] == 10
    assert detector.score(digits.x([0, 1])).isfinite().all()
    with pytest.raises(ModelError, match="the layer that gives the logits"):
        uncertainty.fit(score("react"), net, digits, layer="model.linear1")


def test_a_broken_model_is_told(digits):
    class Broken(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10] / 0

    with pytest.raises(ModelError, match="logits are NaN or infinite"):
        uncertainty.fit(score("entropy"), Broken(), digits)


@pytest.mark.parametrize("name", FITTING)
def test_a_fitted_score_scores_pictures(name, net, digits):
    detector = uncertainty.fit(score(name, {"k": 3} if name == "nearest" else None), net, digits)
    x = data.load("digits", "test", limit=30).x()
    whole = detector.score(x)
    assert whole.shape == (30,)
    torch.testing.assert_close(torch.cat([detector.score(part) for part in x.split(7)]), whole, atol=1e-4, rtol=1e-4)


def test_judging_tells_noise_from_digits(digits):
    from holdfast.train import Recipe, TrainOptions, card_for, train

    card = card_for("mlp", digits, {"hidden": (32,)})
    net = train(card, digits, recipe=Recipe(options=TrainOptions(epochs=8, batch=50))).model
    test = data.load("digits", "test", limit=100)
    found = uncertainty.judge(
        [score("mahalanobis"), score("entropy")],
        net,
        fitted_on=digits,
        inside=test,
        outside=uncertainty.noise("uniform", test),
    )
    mahalanobis, entropy = found.judged
    assert mahalanobis.separation.auroc.value > 0.9
    assert mahalanobis.separation.auroc.low < mahalanobis.separation.auroc.value
    assert len(entropy.inside) == len(entropy.outside) == 100


def test_sets_that_share_pictures_are_refused(net, digits):
    test = data.load("digits", "test", limit=60)
    parts = {"fitted_on": digits, "inside": test, "outside": uncertainty.noise("gaussian", test)}
    for wrong, said in (({"outside": test}, "60 of 60 pictures"), ({"inside": digits.take(slice(50))}, "fitted on")):
        with pytest.raises(DataError, match=said):
            uncertainty.judge([score("entropy")], net, **{**parts, **wrong})


def test_what_a_model_does_not_have_is_left_out_with_the_reason(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(1))
    test = data.load("digits", "test", limit=30)
    parts = {"fitted_on": digits, "inside": test, "outside": uncertainty.noise("gaussian", test)}
    found = uncertainty.judge([score(name) for name in SCORES], model, **parts, lenient=True)
    assert [one.score.name for one in found.judged] == ["max-probability", "entropy", "max-logit", "gen"]
    assert set(dict(found.left_out)) == {"energy", "mahalanobis", "nearest", "vim", "react", "mutual-information"}
    with pytest.raises(ModelError, match="has no members"):
        uncertainty.judge([score("mutual-information")], model, **parts)


def test_noise_belongs_to_its_place_and_has_its_distribution(digits):
    like = Pictures.from_arrays(np.zeros((300, 3, 9, 9), np.uint8), np.zeros(300, int))
    for kind, spread in (("uniform", 255 / math.sqrt(12)), ("gaussian", 0.25 * 256)):
        pictures = uncertainty.noise(kind, like, seed=3)
        assert torch.equal(pictures.images[:7], uncertainty.noise(kind, like.take(slice(7)), seed=3).images)
        assert pictures.images.float().mean() == pytest.approx(127.5, abs=1)
        assert pictures.images.float().std() == pytest.approx(spread, rel=0.06)  # tails of the Gaussian are cut
        assert not torch.equal(pictures.images, uncertainty.noise(kind, like, seed=4).images)
    with pytest.raises(OptionError, match="uniform"):
        uncertainty.noise("unifrom", like)

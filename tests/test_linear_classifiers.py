"""Linear classifiers: the hinge machine and softmax regression, their regulariser, and a mean picture inside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from holdfast import data, models
from holdfast.data import Pictures
from holdfast.errors import DataError, ModelError, OptionError
from holdfast.models import Card, Normalized, open_model
from holdfast.train import CrossEntropy, Hinge, Recipe, TrainOptions, card_for, train
from holdfast.train.labels import Labels


def plain_descent(**others):
    """SGD as a source writes it: no momentum, and the same step size all along."""
    return TrainOptions(
        optimiser="sgd", momentum=0.0, schedule="constant", decay="weights", **{"weight_decay": 0.0, **others}
    )


def float_pictures(x, y, classes):
    return Pictures.from_arrays(np.asarray(x, dtype=np.float32), y, [str(k) for k in range(classes)], split="train")


def weights_of(model):
    """Weight (K, D) and bias (K,) of the linear layer, without the mean that may be subtracted before it."""
    layer = next(module for module in model.modules() if isinstance(module, nn.Linear))
    return layer.weight.detach().clone(), layer.bias.detach().clone()


# The hinge


def test_gradient_is_the_sources_formula():
    """For each class that comes too near: x to its weights, and -x for each of them to those of the label."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 7, dtype=torch.float64, generator=generator)
    y = torch.randint(4, (9,), generator=generator)
    weight = torch.randn(4, 7, dtype=torch.float64, generator=generator).requires_grad_()
    (found,) = torch.autograd.grad(Hinge(margin=1.5)(x @ weight.T, Labels(y)).sum(), weight)
    expected = torch.zeros(4, 7, dtype=torch.float64)
    scores = (x @ weight.T).detach()
    for i in range(9):
        for j in range(4):
            if j != y[i] and scores[i, j] - scores[i, y[i]] + 1.5 > 0:
                expected[j] += x[i]
                expected[y[i]] -= x[i]
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradcheck(lambda w: Hinge(margin=1.5)(x @ w.T, Labels(y)), (weight,))


def test_margin_must_be_positive():
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="margin"):
            Hinge(margin=wrong)


def test_a_separable_problem_reaches_zero_loss_with_the_margin():
    generator = np.random.default_rng(1)
    y = np.arange(60) % 3
    x = 0.1 + 0.05 * generator.random((60, 1, 2, 2))
    x[np.arange(60), 0, y // 2, y % 2] += 0.7  # a pixel for each class
    pictures = float_pictures(x, y, 3)
    trained = train(
        card_for("linear", pictures, normalize=False),
        pictures,
        recipe=Recipe(options=plain_descent(epochs=60, batch=60, learning_rate=0.3), loss=Hinge(margin=2.0)),
    )
    assert trained.history[-1].loss == 0.0
    with torch.no_grad():
        logits = trained.model(pictures.x())
    own = logits.gather(1, pictures.labels[:, None])
    others = logits.scatter(1, pictures.labels[:, None], -torch.inf)
    assert (own - others >= 2.0).all()


# The regulariser


@pytest.mark.parametrize("loss", [Hinge(), CrossEntropy()], ids=["hinge", "softmax"])
def test_weight_decay_is_twice_lambda_and_spares_the_biases(loss):
    """One step down the mean loss plus lambda times the sum of W^2, the biases left out."""
    strength, rate = 0.05, 0.2
    pictures = data.load("digits", "train", limit=64)
    card = card_for("linear", pictures, normalize=False)
    options = plain_descent(epochs=1, batch=64, learning_rate=rate, weight_decay=2 * strength)
    after = weights_of(train(card, pictures, recipe=Recipe(options=options, loss=loss)).model)
    weight, bias = (value.requires_grad_() for value in weights_of(card.build(0)))
    logits = pictures.x().flatten(1) @ weight.T + bias
    whole = loss(logits, Labels(pictures.labels)).mean() + strength * weight.square().sum()
    slopes = torch.autograd.grad(whole, (weight, bias))
    for found, before, slope in zip(after, (weight, bias), slopes):
        torch.testing.assert_close(found, before.detach() - rate * slope, rtol=1e-4, atol=1e-6)


def test_a_rate_for_pixels_of_0_to_255_has_its_like_for_0_to_1():
    """w of x / 255 is 255 times that of x: the rate grows by 255^2, and lambda falls by it. The biases' rate stays."""
    rate, strength, wide = 1e-7, 2.5e4, 255.0
    generator = torch.Generator().manual_seed(4)
    x = torch.randint(256, (20, 12), generator=generator).double()
    y = torch.randint(3, (20,), generator=generator)

    def descend(x, weight, rate, strength):
        for _ in range(30):
            weight = weight.detach().requires_grad_()
            whole = Hinge()(x @ weight.T, Labels(y)).mean() + strength * weight.square().sum()
            weight = weight - rate * torch.autograd.grad(whole, weight)[0]
        return weight.detach()

    first = 1e-4 * torch.randn(3, 12, dtype=torch.float64, generator=generator)
    there = descend(x - 128, first, rate, strength)
    here = descend((x - 128) / wide, wide * first, rate * wide**2, strength / wide**2)
    torch.testing.assert_close(here, wide * there)
    assert rate * wide**2 == pytest.approx(6.5e-3, rel=1e-3)


# Softmax regression


def test_softmax_regression_comes_to_scikit_learns_optimum():
    """The same objective, scikit-learn's sum with C being 1 / (2 n lambda) of ours: loss, weights and answers."""
    pictures = data.load("digits", "train", limit=400)
    strength = 0.005
    x, y = pictures.x().flatten(1).double().numpy(), pictures.labels.numpy()
    known = LogisticRegression(C=1 / (2 * len(y) * strength), tol=1e-8, max_iter=2000).fit(x, y)
    options = plain_descent(epochs=300, batch=400, learning_rate=0.5, weight_decay=2 * strength)
    options = replace(options, momentum=0.9)
    card = card_for("linear", pictures, normalize=False)
    model = train(card.build(0).double(), pictures, recipe=Recipe(options=options)).model
    weight, bias = weights_of(model)

    def objective(weight, bias):
        logits = torch.tensor(x) @ weight.T + bias
        return float(nn.functional.cross_entropy(logits, pictures.labels) + strength * weight.square().sum())

    best = objective(torch.tensor(known.coef_), torch.tensor(known.intercept_))
    assert best - 1e-9 <= objective(weight, bias) < best + 1e-4
    # Weights of all classes may shift together only where that costs nothing: in the biases.
    torch.testing.assert_close(
        weight - weight.mean(0), torch.tensor(known.coef_ - known.coef_.mean(0)), atol=0.02, rtol=0
    )
    with torch.no_grad():
        answers = model(pictures.x(dtype=torch.float64)).argmax(1).numpy()
    assert (answers == known.predict(x)).mean() > 0.99


# The mean picture


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", "train", limit=100)


def test_the_mean_picture_is_subtracted_inside_the_model(digits, tmp_path):
    card = card_for("linear", digits, normalize="pixels")
    assert (card.mean, card.std) == ("pixels", (1.0,))
    options = plain_descent(epochs=2, batch=50, learning_rate=0.1)
    trained = train(card, digits, recipe=Recipe(options=options, loss=Hinge()), out=tmp_path / "run")
    x = digits.x()
    mean = x.double().mean(0).float()
    assert mean.flatten().unique().numel() > 10  # another one for every pixel
    torch.testing.assert_close(trained.model.mean, mean[None])
    weight, bias = weights_of(trained.model)
    expected = (x - mean).flatten(1) @ weight.T + bias
    with torch.no_grad():
        torch.testing.assert_close(trained.model(x), expected)
        model, read = models.load(tmp_path / "run")
        torch.testing.assert_close(model(x), expected)
        by_name = open_model("linear", tmp_path / "run" / "model.safetensors", shape=digits.shape, classes=10).model
        torch.testing.assert_close(by_name(x), expected)
    assert read.mean == "pixels"


def test_the_mean_picture_is_that_of_bytes_and_of_floats(digits):
    floats = float_pictures(digits.x().numpy(), digits.labels.numpy(), 10)
    found = [
        train(
            card_for("linear", some, normalize="pixels"),
            some,
            recipe=Recipe(options=plain_descent(epochs=1, batch=50, learning_rate=0.1)),
        ).model.mean
        for some in (digits, floats)
    ]
    torch.testing.assert_close(found[0], found[1])


def test_the_mean_picture_comes_with_weights_that_are_given(digits):
    card = card_for("linear", digits, normalize="pixels")
    recipe = Recipe(options=plain_descent(epochs=1, batch=50, learning_rate=0.1))
    first = train(card, digits, recipe=recipe).model
    other = data.load("digits", "validation", limit=60)
    later = train(card, other, recipe=recipe, weights=first.state_dict()).model
    assert torch.equal(later.mean, first.mean)
    with pytest.raises(ModelError, match="does not fit"):
        train(card_for("linear", digits), digits, recipe=recipe, weights=first.state_dict())


def test_a_mean_is_a_number_a_channel_or_a_picture():
    with pytest.raises(OptionError, match="'pixels'"):
        Card(architecture="linear", shape=(1, 4, 4), classes=("a", "b"), mean="picture", std=(1.0,))
    with pytest.raises(OptionError, match="one of each a channel"):
        Card(architecture="linear", shape=(3, 4, 4), classes=("a", "b"), mean="pixels", std=(1.0,))
    with pytest.raises(OptionError, match="both or neither"):
        Card(architecture="linear", shape=(3, 4, 4), classes=("a", "b"), mean="pixels")
    picture = torch.rand(2, 3, 3)
    model = Normalized(nn.Flatten(), picture, (0.5, 0.25))
    x = torch.rand(4, 2, 3, 3)
    expected = (x - picture) / torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    torch.testing.assert_close(model(x), expected.flatten(1))


def test_no_pictures_have_no_mean(digits):
    card = card_for("linear", digits, normalize="pixels")
    with pytest.raises(DataError, match="no pictures"):
        train(card, digits.take(slice(0, 0)))

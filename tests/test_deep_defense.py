"""Deep Defense: rho against closed forms and the attack of that name, its gradient against differences, both terms."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast import data
from holdfast.attacks import DeepFool, run
from holdfast.errors import ModelError, OptionError, RunError
from holdfast.models import load, weights_sha256
from holdfast.threats import L2, Linf
from holdfast.train import (
    Adversary,
    CrossEntropy,
    DeepDefense,
    Recipe,
    Step,
    TrainOptions,
    card_for,
    train,
)
from holdfast.train.labels import Labels
from holdfast.train.penalties import deep_defense
from holdfast.train.penalties.deep_defense import deepfool, relative
from nets import linear


def net(activation=nn.ReLU, *, gain=1.0, seed=1):
    """Of 18 pixels to 5 classes; a larger `gain` of the first layer bends the logits more."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(18, 12, dtype=torch.float64),
            activation(),
            nn.Linear(12, 5, dtype=torch.float64),
        )
    with torch.no_grad():
        model[1].weight.mul_(gain)
    return model


def some(n=12, seed=0):
    return torch.rand(n, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step_of(model, x, y=None):
    with torch.no_grad():
        own = model(x).argmax(1)
    y = own if y is None else y
    return Step(model=model, x=x, seen=x, labels=Labels(y), place=torch.arange(len(x)), loss=CrossEntropy(), seed=0)


def rho_of(model, x, steps=5, overshoot=1.02):
    return relative(deepfool(model, x, steps, overshoot)[0], x)


# The change


def test_of_a_linear_model_it_is_the_closed_form():
    weight = torch.randn(5, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    bias = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    model, x = linear(weight, bias), some()
    found = rho_of(model, x).detach()
    for row, picture in zip(found, x):
        logits = (weight @ picture.flatten() + bias).detach()
        own = int(logits.argmax())
        gaps = [float((logits[own] - logits[k]) / (weight[own] - weight[k]).norm()) for k in range(5) if k != own]
        assert float(row) == pytest.approx(1.02 * min(gaps) / float(picture.norm()), rel=1e-12)


def test_it_is_the_published_loop_step_by_step():
    """Algorithm 1 of the report, picture by picture in plain code: the same changes, with ReLU kinks on the way."""
    model, x = net(), some(20)
    found = deepfool(model, x, 5, 1.02)[0].detach()
    counts = []
    for picture, change in zip(x, found):
        with torch.no_grad():
            own = int(model(picture[None]).argmax())
        total, taken = torch.zeros(18, dtype=torch.float64), 0
        for _ in range(5):
            point = (picture.flatten() + total).view(1, 2, 3, 3).requires_grad_()
            logits = model(point)[0]
            slopes = [torch.autograd.grad(logits[k], point, retain_graph=True)[0].flatten() for k in range(5)]
            logits = logits.detach()
            if int(logits.argmax()) != own:
                break
            moves = [
                (abs(float(logits[k] - logits[own])) / float((slopes[k] - slopes[own]).norm()) ** 2)
                * (slopes[k] - slopes[own])
                for k in range(5)
                if k != own
            ]
            total, taken = total + 1.02 * min(moves, key=lambda move: float(move.norm())), taken + 1
        counts.append(taken)
        torch.testing.assert_close(change.flatten(), total)
    assert len(set(counts)) > 1  # pictures that hold for longer go on alone


def test_it_agrees_with_the_attack_of_that_name():
    """Where the box is far away, the attack in L2 with all classes and the same overshoot finds as long a change."""
    model, x = net(), 0.4 + 0.2 * some(20)
    found = deepfool(model, x, 50, 1.02)
    threat = L2(eps=1e3, low=-50.0, high=50.0)
    attack = DeepFool(steps=50, candidates=None, overshoot=0.02)
    result = run(attack, model, x, found[1], threat, seed=0, aim="smallest")
    # The attack begins each step at the point before it, too; lengths of a step differ by what rounding might hide.
    torch.testing.assert_close(found[0].detach().flatten(1).norm(dim=1), result.size.to(x), rtol=0.02, atol=1e-9)
    with torch.no_grad():
        assert (model(x + found[0]).argmax(1) != found[1]).all()


def test_a_picture_does_not_depend_on_the_others():
    model, x = net(), some(20)
    whole = deepfool(model, x, 5, 1.02)[0]
    parts = torch.cat([deepfool(model, part, 5, 1.02)[0] for part in x.split(3)])
    torch.testing.assert_close(parts, whole)


def test_it_is_that_of_the_model_in_use():
    """Batch norm and dropout answer as in evaluation, and every module's mode is given back."""
    pictures = data.load("digits", "train", limit=16)
    model = card_for("mlp", pictures, {"batch_norm": True, "dropout": 0.5}).build(2)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    step = step_of(model.eval(), pictures.x(), pictures.labels)
    in_use = DeepDefense()(step)
    model.train()
    torch.testing.assert_close(DeepDefense()(step.anew()), in_use)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_black_pictures_and_models_that_heed_no_pixel_give_numbers():
    x = some(4)
    x[1] = 0.0
    for model in (net(), linear(torch.zeros(5, 18, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64))):
        step = step_of(model, x)
        found = DeepDefense()(step)
        assert float(found.detach()[1]) == 0.0
        assert float(step.figures["rho"][1]) == 0.0
        found.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# Its gradient


@pytest.mark.parametrize(("activation", "seed"), [(nn.ReLU, 5), (nn.Tanh, 7)], ids=["relu", "tanh"])
def test_the_weights_gradient_agrees_with_differences(activation, seed, monkeypatch):
    """To 1e-3, weight by weight, on fixed active classes and steps, of pictures that take one step and more."""
    model, x = net(activation, gain=4.0, seed=seed), some(10, seed=5)
    chosen = []
    nearest = deep_defense.nearest

    def recorded(logits, points, own):
        chosen.append(nearest(logits, points, own))
        return chosen[-1]

    monkeypatch.setattr(deep_defense, "nearest", recorded)
    rho = rho_of(model, x)
    expected = torch.autograd.grad(rho.sum(), list(model.parameters()), allow_unused=True)
    assert len(chosen) > 2  # some pictures take three steps and more
    first = [each.clone() for each in chosen]
    length, checked = 1e-6, 0
    for weight, slope in zip(model.parameters(), expected):
        flat = weight.data.view(-1)
        found = torch.zeros_like(flat)
        for place in range(len(flat)):
            sides = []
            for sign in (1, -1):
                flat[place] += sign * length
                chosen.clear()
                sides.append(float(rho_of(model, x).sum().detach()))
                flat[place] -= sign * length
                assert [each.tolist() for each in chosen] == [each.tolist() for each in first]
            found[place] = (sides[0] - sides[1]) / (2 * length)
        slope = torch.zeros_like(found) if slope is None else slope.flatten()
        torch.testing.assert_close(slope, found, rtol=1e-3, atol=1e-3 * float(found.abs().mean()))
        checked += int((found.abs() > 1e-6).sum())
    assert checked > 150


def test_the_gradient_goes_through_earlier_steps():
    """With a detached change before the last step the gradient would be another one."""
    model, x = net(nn.Tanh, gain=4.0, seed=7), some(10, seed=5)
    taken = deepfool(model, x, 1, 1.02)[0]
    assert (model(x + taken).argmax(1) == model(x).argmax(1)).any()  # some picture takes a second step
    whole = torch.autograd.grad(rho_of(model, x).sum(), list(model.parameters()), allow_unused=True)
    once = torch.autograd.grad(rho_of(model, x, steps=1).sum(), list(model.parameters()), allow_unused=True)
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(whole, once) if a is not None)


# The terms


def test_terms_are_those_of_the_source():
    model, x = net(), some(10)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[6:] = (y[6:] + 1) % 5
    step = step_of(model, x, y)
    found = DeepDefense(c=25.0, d=5.0, weight=15.0)(step)
    rho = rho_of(model, x).detach()
    expected = [15 * math.exp(-25 * float(r)) for r in rho[:6]] + [15 * math.exp(5 * float(r)) for r in rho[6:]]
    assert found.tolist() == pytest.approx(expected)
    torch.testing.assert_close(step.figures["rho"], rho)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_descent_moves_right_pictures_away_from_the_boundary_and_wrong_ones_towards_it(right):
    model, x = net(), some(10)
    with torch.no_grad():
        own = model(x).argmax(1)
    before = rho_of(model, x).detach()
    DeepDefense()(step_of(model, x, own if right else (own + 1) % 5)).mean().backward()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight.sub_(1e-6 * weight.grad)
        assert (model(x).argmax(1) == own).all()
    change = (rho_of(model, x).detach() - before).sum()
    assert (change > 0) == right


def test_terms_count_beside_each_pictures_loss():
    """The mean over the batch: as in the source's sum over pictures, one picture's terms stand beside one loss."""
    pictures = data.load("digits", "train", limit=64)
    model = card_for("linear", pictures).build(0)
    x, y = pictures.x(), pictures.labels
    step = step_of(model, x, y)
    logits = model(x)
    whole = nn.functional.cross_entropy(logits, y) + DeepDefense(weight=2.0)(step).mean()
    expected = torch.autograd.grad(whole, list(model.parameters()))
    options = TrainOptions(
        epochs=1, batch=64, optimiser="sgd", momentum=0.0, learning_rate=0.5, weight_decay=0.0, schedule="constant"
    )
    begun = [p.detach().clone() for p in model.parameters()]
    train(model, pictures, recipe=Recipe(options=options, penalties=(DeepDefense(weight=2.0),)))
    for weight, before, slope in zip(model.parameters(), begun, expected):
        torch.testing.assert_close(weight.detach(), before - 0.5 * slope, rtol=1e-4, atol=1e-6)


# In training, and the two readings


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", "train", limit=300)


@pytest.fixture(scope="module")
def plain(digits, tmp_path_factory):
    options = TrainOptions(epochs=10, batch=32, learning_rate=0.01)
    return train(
        card_for("mlp", digits), digits, recipe=Recipe(options=options), out=tmp_path_factory.mktemp("p") / "r"
    )


LATER = TrainOptions(epochs=5, batch=32, learning_rate=0.003)


def mean_rho(model, pictures):
    return float(rho_of(model.double(), pictures.x(dtype=torch.float64)).mean().detach())


def test_it_makes_the_smallest_changes_larger_at_no_loss_of_accuracy(digits, plain):
    held = data.load("digits", "validation")
    weights = plain.model.float().state_dict()

    def later(*penalties):
        recipe = Recipe(options=LATER, penalties=penalties)
        return train(plain.card, digits, recipe=recipe, weights=weights, validation=held)

    same, defended = later(), later(DeepDefense(c=5.0))
    assert defended.history[-1].validation.k >= same.history[-1].validation.k - 3
    assert mean_rho(defended.model, held) > 1.05 * mean_rho(same.model, held)
    rho = [epoch.figures["rho"][0] for epoch in defended.history]
    assert rho[-1] > rho[0]


def test_with_the_adversary_it_looks_at_its_pictures(digits, plain):
    """The other reading: at DeepFool's pictures, just past a boundary, rho is next to nothing."""
    adversary = Adversary(DeepFool(steps=5, candidates=None), L2(eps=1.0))
    recipe = Recipe(options=replace(LATER, epochs=1), penalties=(DeepDefense(),))
    clean, moved = (
        train(plain.card, digits, recipe=replace(recipe, adversary=who), weights=plain.model.float().state_dict())
        for who in (None, adversary)
    )
    assert moved.history[-1].figures["rho"][0] < 0.3 * clean.history[-1].figures["rho"][0]


def test_deepfool_pictures_are_those_of_the_whole_box(digits, plain):
    """Whatever the radius and the strength; those misclassified already stay as they are."""
    model, x, y = plain.model.float(), digits.x(), digits.labels.clone()
    y[:5] = (y[:5] + 1) % 10
    attack = DeepFool(steps=20)
    made = [
        Adversary(attack, L2(eps=eps)).harden(model, x, y, digits.place, seed=3, strength=strength)
        for eps, strength in ((0.01, 1.0), (8.0, 0.1))
    ]
    assert torch.equal(*made)
    with torch.no_grad():
        assert (model(made[0]).argmax(1) != y).float().mean() > 0.99
    assert torch.equal(made[0][:5], x[:5])
    assert float((made[0] - x).flatten(1).norm(dim=1).max()) > 0.01


def test_fine_tuning_on_deepfool_pictures(digits, plain):
    """The plain loss on them, from the plain model's weights."""
    recipe = Recipe(options=LATER, adversary=Adversary(DeepFool(steps=5), L2(eps=1.0)))
    tuned = train(plain.card, digits, recipe=recipe, weights=plain.model.float().state_dict(), validation=digits)
    assert tuned.history[-1].validation.rate > 0.9
    assert tuned.history[-1].robust is None  # no picture withstands an attack without a radius
    assert mean_rho(tuned.model, digits) > mean_rho(plain.model, digits)


def test_watching_what_withstands_an_attack_without_a_radius_is_refused():
    with pytest.raises(OptionError, match="heeds no radius"):
        Recipe(options=TrainOptions(watch="robust"), adversary=Adversary(DeepFool(), L2(eps=1.0)))


# Weights to begin with


def test_begins_with_the_weights_given(digits, plain, tmp_path):
    card, weights = plain.card, plain.model.float().state_dict()
    still = Recipe(options=replace(LATER, epochs=1, learning_rate=1e-12, weight_decay=0.0))
    found = train(card, digits, recipe=still, weights=weights, seed=9, out=tmp_path / "run")
    for name, value in found.model.state_dict().items():
        torch.testing.assert_close(value, weights[name])
    assert found.card.training["recipe"]["start"] == weights_sha256(plain.model)
    assert load(tmp_path / "run")[1].training["recipe"]["start"] == weights_sha256(plain.model)
    assert plain.card.training["recipe"]["start"] is None


def test_a_run_is_not_resumed_from_other_weights(digits, plain, tmp_path):
    recipe = Recipe(options=replace(LATER, epochs=1))
    weights = plain.model.float().state_dict()
    train(plain.card, digits, recipe=recipe, weights=weights, out=tmp_path / "run")
    again = train(plain.card, digits, recipe=recipe, weights=weights, out=tmp_path / "run", resume=True)
    assert again.seconds == 0.0
    with pytest.raises(RunError, match="start was"):
        train(plain.card, digits, recipe=recipe, out=tmp_path / "run", resume=True)


def test_weights_of_another_architecture_are_refused_in_one_line(digits, plain):
    with pytest.raises(ModelError, match=r"does not fit the model.*missing") as caught:
        train(card_for("cnn", digits), digits, weights=plain.model.float().state_dict())
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="does not fit the model"):
        train(card_for("cnn", digits).build(0), digits, weights=plain.model.float().state_dict())


def test_weights_behind_another_normalisation_are_refused(digits, plain):
    other = replace(plain.card, mean=(0.1,))
    with pytest.raises(ModelError, match="another mean of the pictures"):
        train(other, digits, weights=plain.model.float().state_dict())


# Options


@pytest.mark.parametrize(
    "wrong",
    [{"c": 0.0}, {"d": -1.0}, {"weight": -1.0}, {"overshoot": 0.9}, {"c": math.inf}, {"steps": 0}, {"steps": True}],
    ids=str,
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        DeepDefense(**wrong)


def test_needs_no_norm_but_the_euclidean_one():
    assert Adversary(DeepFool(), Linf(eps=0.1)).unlimited

"""Penalties on the gradient: both forms against each other and against closed forms, alone and as one of several."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast import data
from holdfast.errors import OptionError
from holdfast.train import (
    CrossEntropy,
    Lipschitz,
    Recipe,
    Step,
    TotalVariation,
    TrainOptions,
    card_for,
    slopes_of,
    train,
)
from holdfast.train.labels import Labels
from holdfast.train.passes import counted
from holdfast.train.penalties.slope import steepness
from nets import linear

NORMS = pytest.mark.parametrize("norm", ["l2", "l1"])
FORMS = pytest.mark.parametrize("form", ["difference", "double-backward"])
ORDER = {"l2": 2, "l1": 1}


def smooth(*, mixing=False, activation=nn.Softplus):
    """A net without kinks, so that differences have an error that falls with their length."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        norm = [nn.BatchNorm1d(16, dtype=torch.float64)] if mixing else []
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(18, 16, dtype=torch.float64),
            *norm,
            activation(),
            nn.Linear(16, 4, dtype=torch.float64),
        )


def step_of(model, n=12, seed=0, **others):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 2, 3, 3, dtype=torch.float64, generator=generator)
    y = torch.randint(4, (n,), generator=generator)
    values = {"x": x, "seen": x, "labels": Labels(y), "place": torch.arange(n) + 5, **others}
    return Step(model=model, loss=CrossEntropy(), seed=0, sloped=True, **values)


def weights_gradient(model, value):
    """Of a scalar, as one vector."""
    found = torch.autograd.grad(value, list(model.parameters()), retain_graph=True, allow_unused=True)
    return torch.cat([torch.zeros(p.numel()) if g is None else g.flatten() for g, p in zip(found, model.parameters())])


def slopes_by_hand(model, step):
    """The gradient of each picture's own loss, asked picture by picture."""
    rows = []
    for x, y in zip(step.seen, step.labels.y):
        x = x[None].clone().requires_grad_()
        rows.append(torch.autograd.grad(nn.functional.cross_entropy(model(x), y[None]), x)[0].flatten())
    return torch.stack(rows)


# The norm


@NORMS
@FORMS
def test_is_the_norm_of_each_pictures_gradient(norm, form):
    model = smooth()
    step = step_of(model)
    expected = slopes_by_hand(model, step).norm(ORDER[norm], dim=1)
    found = steepness(step, norm=norm, form=form, h=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@NORMS
@pytest.mark.parametrize("mixing", [False, True], ids=["plain", "batch norm"])
def test_difference_nears_the_double_backward_form_in_proportion_to_its_length(norm, mixing):
    """The sum over the batch and its gradient to the weights; with batch norm the pictures' shares differ."""
    model = smooth(mixing=mixing)
    exact = steepness(step_of(model), norm=norm, form="double-backward", h=1.0).sum()
    slope = weights_gradient(model, exact)

    def errors(h):
        found = steepness(step_of(model), norm=norm, form="difference", h=h).sum()
        return [
            float((found - exact).detach().abs() / exact.detach()),
            float((weights_gradient(model, found) - slope).norm() / slope.norm()),
        ]

    coarse, fine = errors(1e-3), errors(1e-4)
    for large, small in zip(coarse, fine):
        assert large < 0.05
        assert large / small == pytest.approx(10, rel=0.1)


@NORMS
def test_the_move_has_the_length_asked_for(norm):
    seen = []

    class Watching(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            seen.append(x.detach())
            return self.model(x)

    step = step_of(Watching(smooth()))
    steepness(step, norm=norm, form="difference", h=0.25)
    assert len(seen) == 2
    moved = (seen[1] - seen[0]).flatten(1)
    torch.testing.assert_close(moved.norm(dim=1), torch.full((12,), 0.25, dtype=torch.float64))
    if norm == "l1":
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.25 / math.sqrt(18)))


def test_no_gradient_flows_through_the_direction():
    """On logits linear in the pixels the difference's derivative is that at two fixed points."""
    weight = torch.randn(4, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model = linear(weight)
    step = step_of(model)
    h = 0.7  # so long that a derivative through the direction would show
    found = weights_gradient(model, steepness(step, norm="l2", form="difference", h=h).sum())
    grad = slopes_by_hand(model, step)
    there = step.seen + h * (grad / grad.norm(dim=1, keepdim=True)).view_as(step.seen)
    loss = nn.functional.cross_entropy
    y = step.labels.y
    by_hand = (loss(model(there), y, reduction="sum") - loss(model(step.seen), y, reduction="sum")) / h
    torch.testing.assert_close(found, weights_gradient(model, by_hand))


@FORMS
def test_a_flat_loss_has_slope_0_and_a_finite_gradient(form):
    model = linear(torch.zeros(4, 18, dtype=torch.float64))
    found = steepness(step_of(model), norm="l2", form=form, h=0.01)
    assert not found.any()
    assert weights_gradient(model, found.sum()).isfinite().all()


# Total variation


@NORMS
@FORMS
def test_total_variation_is_eps_times_the_norm(norm, form):
    model = smooth()
    step = step_of(model)
    found = TotalVariation(eps=0.3, norm=norm, form=form, h=1e-6)(step)
    by_hand = slopes_by_hand(model, step)
    torch.testing.assert_close(found, 0.3 * by_hand.norm(ORDER[norm], dim=1), rtol=1e-5, atol=0)
    torch.testing.assert_close(step.figures["gradient"], by_hand.norm(dim=1))  # always the Euclidean one


def test_total_variation_is_what_the_worst_change_adds():
    """To first order in eps, for the norm's own threat: l1 for the largest value, l2 for the length."""
    model, eps = smooth(), 1e-5
    for norm in ORDER:
        step = step_of(model)
        slope = slopes_by_hand(model, step).view_as(step.seen)
        unit = slope.sign() if norm == "l1" else slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        added = step.losses_at(step.seen + eps * unit) - step.losses
        torch.testing.assert_close(TotalVariation(eps=eps, norm=norm, h=1e-5)(step), added, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("form", "passes"), [("difference", (2, 3)), ("double-backward", (1, 2))])
def test_passes_are_those_told(form, passes):
    """The pass at the pictures is shared with the loss: a difference costs one more forward pass and one to the pixels.

    Back from the logits: one to the pixels, then the weights' through every forward pass. What a derivative of the
    first of these costs besides comes by no logits, and is not among them.
    """
    model = smooth()
    with counted(model) as count:
        step = step_of(model)
        total = step.losses + TotalVariation(form=form)(step) + Lipschitz(form=form)(step)
        torch.autograd.backward(total.mean())
    assert (count.forward / 12, count.backward / 12) == passes


# Lipschitz


@NORMS
@FORMS
def test_lipschitz_is_the_largest_norm_of_the_batch(norm, form):
    model = smooth()
    step = step_of(model)
    found = Lipschitz(weight=0.7, norm=norm, form=form, h=1e-6)(step)
    norms = slopes_by_hand(model, step).norm(ORDER[norm], dim=1)
    assert int((found != 0).sum()) == 1
    assert found.argmax() == norms.argmax()
    torch.testing.assert_close(found.mean(), 0.7 * norms.max(), rtol=1e-5, atol=0)


def test_lipschitz_of_two_processes_is_that_of_one():
    model = smooth()
    whole = step_of(model)
    expected = Lipschitz(form="double-backward")(whole)
    norms = slopes_by_hand(model, whole).norm(dim=1)

    def part(rows):
        return step_of(
            model,
            x=whole.x[rows],
            seen=whole.x[rows],
            labels=Labels(whole.labels.y[rows]),
            place=whole.place[rows],
            whole=12,
        )

    rows = torch.arange(12)
    # What the other process would answer is known here: the largest norm, then the place of its picture.
    top = whole.place[norms.argmax()].double()
    parts = []
    for mine in (rows[:7], rows[7:]):
        step = part(mine)
        answers = iter([norms.max(), top])
        step.largest = lambda values, answers=answers: torch.maximum(values.amax(), next(answers))
        parts.append(Lipschitz(form="double-backward")(step))
    torch.testing.assert_close(torch.cat(parts), expected)


def test_of_equally_steep_pictures_one_counts():
    model = smooth()
    step = step_of(model)
    x, y = step.x[:1].expand(6, -1, -1, -1), step.labels.y[:1].expand(6)
    twins = step_of(model, x=x, seen=x, labels=Labels(y), place=torch.arange(6))
    found = Lipschitz(weight=1.0, form="double-backward")(twins)
    assert int((found != 0).sum()) == 1
    torch.testing.assert_close(found.mean(), slopes_by_hand(model, step)[0].norm())


def test_beside_a_total_variation_it_asks_nothing_anew():
    model = smooth()
    with counted(model) as count:
        step = step_of(model)
        TotalVariation()(step)
        before = count.forward, count.backward
        Lipschitz()(step)
    assert (count.forward, count.backward) == before
    with counted(model) as count:
        Lipschitz(h=0.02)(step)
    assert count.forward == 12


def test_a_step_taken_anew_shares_nothing_with_the_old_one():
    model = smooth()
    step = step_of(model)
    before = TotalVariation()(step)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    after = TotalVariation()(step.anew())
    assert not torch.allclose(before, after)


# In training


@NORMS
@FORMS
@pytest.mark.parametrize("kind", [TotalVariation, Lipschitz])
def test_a_step_down_the_penalty_makes_the_loss_less_steep(kind, norm, form):
    """By as much as its gradient tells, to first order: the sign and the size of what training descends."""
    model = smooth()
    penalty = replace(kind(), norm=norm, form=form, h=1e-5)
    weights = list(model.parameters())
    before = penalty(step_of(model)).mean()
    slope = torch.autograd.grad(before, weights, allow_unused=True)
    length = 1e-4
    with torch.no_grad():
        for weight, move in zip(weights, slope):
            if move is not None:
                weight.sub_(length * move)
    gain = length * sum(float(move.square().sum()) for move in slope if move is not None)
    after = penalty(step_of(model)).mean()
    assert float((before - after).detach()) == pytest.approx(gain, rel=2e-2)


def test_training_with_a_penalty_makes_a_model_less_steep_and_records_it():
    pictures = data.load("digits", "train", limit=200)
    options = TrainOptions(epochs=8, batch=32, learning_rate=0.01)
    card = card_for("mlp", pictures)
    penalties = (TotalVariation(eps=0.2), Lipschitz(weight=0.3))
    plain, held = (train(card, pictures, recipe=Recipe(options=options, penalties=some)) for some in ((), penalties))
    before, after = (slopes_of(found.model, pictures).summary() for found in (plain, held))
    assert after["logits"][1] < 0.8 * before["logits"][1]
    assert held.history[-1].train.rate > 0.95
    assert not plain.history[-1].figures
    mean, largest = held.history[-1].figures["gradient"]
    assert 0 < mean < largest


def test_low_precision_is_refused_for_differences_alone():
    low = TrainOptions(precision="bfloat16")
    with pytest.raises(OptionError, match="double-backward"):
        Recipe(options=low, penalties=(TotalVariation(),))
    with pytest.raises(OptionError, match="lipschitz"):
        Recipe(options=low, penalties=(TotalVariation(form="double-backward"), Lipschitz()))
    assert Recipe(options=low, penalties=(TotalVariation(form="double-backward"),))


@pytest.mark.parametrize("kind", [TotalVariation, Lipschitz])
@pytest.mark.parametrize(
    "wrong",
    [{"norm": "linf"}, {"form": "central"}, {"h": 0.0}, {"h": math.nan}, {"h": math.inf}],
    ids=str,
)
def test_wrong_options_are_refused(kind, wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        replace(kind(), **wrong)


@pytest.mark.parametrize("penalty", [{"eps": -0.1}, {"eps": math.nan}, {"weight": -1.0}, {"weight": math.inf}], ids=str)
def test_wrong_weights_are_refused(penalty):
    kind = TotalVariation if "eps" in penalty else Lipschitz
    with pytest.raises(OptionError, match="finite numbers >= 0"):
        kind(**penalty)


# Measured slopes


@pytest.mark.parametrize("batch", [256, 7])
def test_measured_slopes_are_those_of_autograd(batch):
    pictures = data.load("digits", "train", limit=20)
    model = card_for("mlp", pictures, {"batch_norm": True, "dropout": 0.3}).build(1).double()
    found = slopes_of(model, pictures, batch=batch)
    assert model.training
    model.eval()
    for place, (x, y) in enumerate(zip(pictures.x(dtype=torch.float64), pictures.labels)):
        outputs = {
            "loss": lambda x, y=y: nn.functional.cross_entropy(model(x), y[None])[None],
            "probabilities": lambda x: model(x).softmax(1)[0],
            "logits": lambda x: model(x)[0],
        }
        for name, output in outputs.items():
            jacobian = torch.autograd.functional.jacobian(output, x[None]).flatten(1)
            expected = float(jacobian.norm(dim=1).max())
            assert float(getattr(found, name)[place]) == pytest.approx(expected, rel=1e-9)


def test_the_loss_is_at_most_twice_as_steep_as_a_logit_but_not_as_a_probability():
    """Which of the two a published table of slopes means: its loss is steeper than that."""
    pictures = data.load("digits", "train", limit=50)
    found = slopes_of(linear(8 * torch.randn(10, 64, generator=torch.Generator().manual_seed(2))), pictures)
    assert (found.loss <= 2 * found.logits * (1 + 1e-6)).all()
    assert (found.loss > 2 * found.probabilities).any()
    assert found.summary()["loss"] == (pytest.approx(float(found.loss.mean())), float(found.loss.max()))

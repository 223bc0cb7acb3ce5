"""Models of several models: exact means, saved and loaded whole, attacked through all members."""

import itertools
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from holdfast import PGD, Linf, data, models
from holdfast.attacks import run
from holdfast.errors import ModelError, OptionError
from holdfast.models import Card, Committee, EnsembleOf, MonteCarloDropout, MonteCarloDropoutOf, StackedOf, maps
from holdfast.models.stacked import mean_of, side_by_side

SHAPE, CLASSES = (1, 8, 8), tuple("abcd")


def member(seed, dropout=0.4):
    card = Card(architecture="mlp", options={"hidden": (9,), "dropout": dropout}, shape=SHAPE, classes=CLASSES)
    return card.build(seed).eval(), card


MEMBERS = [member(seed) for seed in range(3)]
JOINED = {
    "ensemble": models.join(MEMBERS),
    "mc-dropout": models.join(MEMBERS[:1], by=MonteCarloDropoutOf, options={"passes": 5}),
    "stacked": models.join(MEMBERS, by=StackedOf),
}
every = pytest.mark.parametrize("name", JOINED)


@pytest.fixture
def x():
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(3))


@every
def test_a_joined_model_is_saved_and_loaded_whole(name, x, tmp_path):
    model, card = JOINED[name]
    models.save(tmp_path, model, card)
    again, read = models.load(tmp_path)
    assert torch.equal(again(x), model(x))
    assert (read.architecture, read.classes) == (name, CLASSES)
    assert read.training["cost"] == model.cost == {"mc-dropout": 5}.get(name, 3)
    assert isinstance(again, Committee)


@every
def test_answers_do_not_depend_on_the_batch_or_the_call(name, x):
    model = JOINED[name][0].double()
    whole = model(x.double())
    split = torch.cat([model(part) for part in x.double().split(1)])
    torch.testing.assert_close(whole, split)
    assert torch.equal(whole, model(x.double()))
    model.float()


@every
def test_gradients_come_through_every_member(name, x):
    model = JOINED[name][0]
    weights = [p for p in model.parameters() if p.ndim == 2]
    for gradient in torch.autograd.grad(model(x)[:, 0].sum(), weights):
        assert gradient.abs().max() > 0
    assert model.members(x).shape == (model.cost, 6, 4)
    assert torch.equal(model.joined(model.members(x)), model(x))


@every
def test_an_attack_climbs_the_loss_of_the_whole(name, x):
    model = JOINED[name][0]
    y = model(x).argmax(1)
    found = run(PGD(steps=5), model, x, y, Linf(eps=0.3), seed=0)
    before, after = (nn.functional.cross_entropy(model(v), y, reduction="none") for v in (x, found.x_adv))
    assert (after > before).all()
    assert found.success.any()


def test_the_mean_is_of_probabilities(x):
    model = JOINED["ensemble"][0]
    mean = sum(part(x).softmax(1) for part, _ in MEMBERS) / 3
    torch.testing.assert_close(model(x).exp(), mean)
    torch.testing.assert_close(model(x).exp().sum(1), torch.ones(6))


def test_the_mean_survives_where_probabilities_underflow():
    logits = torch.tensor([[[0.0, 3000.0]], [[0.0, 2000.0]]])
    torch.testing.assert_close(models.ensemble.log_of_mean(logits)[0, 0], torch.tensor(-2000.0 - 0.693147))


def test_an_unfitted_combiner_is_the_mean_of_log_probabilities(x):
    model = JOINED["stacked"][0]
    mean = torch.stack([part(x).log_softmax(1) for part, _ in MEMBERS]).mean(0)
    torch.testing.assert_close(model(x), mean)


def test_thinned_copies_average_to_the_expectation():
    """A linear model's logits under dropout: their mean over masks is the model itself, exactly over all masks."""
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3, 2))
    committee = MonteCarloDropout(model, passes=4000, seed=1)
    x = torch.tensor([[[[1.0, -2.0, 0.5]]]])
    logits = committee.members(x)[:, 0]
    model.eval()
    assert (logits.mean(0) - model(x)[0]).abs().max() < 0.06
    ways = [
        model[2](2 * x.flatten(1) * torch.tensor(kept, dtype=torch.float))
        for kept in itertools.product((0, 1), repeat=3)
    ]
    exact = torch.stack(ways).softmax(-1).mean(0)
    assert (committee(x).exp() - exact).abs().max() < 0.02
    seen = {tuple(row) for row in logits.round(decimals=4).tolist()}
    assert seen == {tuple(way[0].round(decimals=4).tolist()) for way in ways}


def test_masks_belong_to_pass_layer_and_seed_and_are_shared_by_pictures():
    layers = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.5))
    ones = torch.ones(2, 1, 8, 8)
    answer = MonteCarloDropout(layers, passes=3).members(ones)
    assert torch.equal(answer[:, 0], answer[:, 1])
    assert not torch.equal(answer[0], answer[1])
    assert 0.1 < (answer > 0).float().mean() < 0.4  # kept by both layers: a quarter, were they not one mask
    assert not torch.equal(answer, MonteCarloDropout(layers, passes=3, seed=1).members(ones))
    channels = MonteCarloDropout(nn.Sequential(nn.Dropout2d(0.5), nn.Flatten()), passes=9)
    whole = channels.members(torch.ones(1, 5, 2, 2)).view(9, 5, 4)
    assert torch.equal(whole.amin(2), whole.amax(2))
    assert set(whole.unique().tolist()) == {0.0, 2.0}


def test_masks_made_without_gradients_serve_with_them(x):
    model = MonteCarloDropout(MEMBERS[0][0], passes=2)
    with torch.inference_mode():
        model(x)
    x.requires_grad_()
    assert torch.autograd.grad(model(x).sum(), x)[0].shape == x.shape


def test_the_global_generator_and_the_given_model_are_left_alone(x):
    given = MEMBERS[0][0]
    state = torch.get_rng_state()
    MonteCarloDropout(given, passes=2)(x)
    assert torch.equal(state, torch.get_rng_state())
    assert any(isinstance(part, nn.Dropout) for part in given.modules())


def held_out(n=400):
    draw = torch.Generator().manual_seed(5)
    y = torch.randint(0, 3, (n,), generator=draw)
    good = 1.5 * nn.functional.one_hot(y, 3) + torch.randn(n, 3, generator=draw)
    return torch.stack([good, torch.randn(n, 3, generator=draw)]), y


def test_a_combiner_is_a_logistic_regression():
    logits, y = held_out()
    weight, bias = models.fit_combiner(logits, y, penalty=1e-4)
    rows = side_by_side(logits).double()
    ours = (rows @ weight.T + bias).log_softmax(1)
    oracle = LogisticRegression(C=1e4, tol=1e-10, max_iter=10_000).fit(rows.numpy(), y.numpy())
    theirs = torch.tensor(oracle.predict_log_proba(rows.numpy()))
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)


def test_a_combiner_leaves_a_useless_member_aside_and_a_large_penalty_keeps_the_mean():
    logits, y = held_out()
    weight, _ = models.fit_combiner(logits, y, penalty=1.0)
    assert weight[:, :3].abs().mean() > 3 * weight[:, 3:].abs().mean()
    kept, _ = models.fit_combiner(logits, y, penalty=1e9)
    torch.testing.assert_close(kept, mean_of(2, 3)[0].double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: models.Ensemble([nn.Flatten()]), "two or more"),
        (lambda: MonteCarloDropout(nn.Flatten()), "has no dropout"),
        (lambda: MonteCarloDropout(nn.Dropout(), passes=1), "passes=1"),
        (lambda: models.join(MEMBERS[:1]), "1 members"),
        (lambda: models.join([]), "0 members"),
        (lambda: EnsembleOf(members=("mlp", "mlp")), "allowed: a mapping"),
        (lambda: models.fit_combiner(torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64)), "labels of shape"),
        (lambda: models.fit_combiner(torch.full((2, 3, 4), torch.nan), torch.zeros(3, dtype=torch.int64)), "NaN"),
        (lambda: models.build("ensemble", shape=SHAPE, classes=2), "holdfast ensemble"),
    ],
)
def test_what_cannot_be_joined_is_refused(wrong, said):
    with pytest.raises((OptionError, ModelError), match=said):
        wrong()


def test_members_of_other_classes_are_refused():
    other = Card(architecture="mlp", options={"hidden": (9,)}, shape=SHAPE, classes=tuple("abc"))
    with pytest.raises(ModelError, match="Train them on the same data"):
        models.join([MEMBERS[0], (other.build(0), other)])


@every
def test_a_stand_in_answers_as_the_whole(name, x):
    from holdfast.models.stand_in import Plan, stand_in

    member = models.build("resnet8", {}, shape=(1, 8, 8), classes=4, seed=0)
    member = nn.Sequential(member, nn.Dropout(0.3)).eval()
    made = {
        "ensemble": lambda: models.Ensemble([member, models.build("resnet8", shape=SHAPE, classes=4, seed=1).eval()]),
        "mc-dropout": lambda: MonteCarloDropout(member, passes=3),
        "stacked": lambda: models.Stacked([member, member], 4),
    }[name]().eval()
    torch.testing.assert_close(stand_in(made, Plan())(x), made(x), atol=1e-4, rtol=1e-4)


def test_a_joined_model_opens_where_every_model_does(tmp_path):
    model, card = JOINED["mc-dropout"]
    models.save(tmp_path, model, card)
    opened = models.open_model(str(tmp_path), shape=SHAPE, classes=4)
    pictures = data.load("digits", limit=3)
    assert torch.equal(opened.model(pictures.x()), model(pictures.x()))


def test_recalibrated_members_are_refused():
    model, card = MEMBERS[1]
    with pytest.raises(ModelError, match="member 1 is recalibrated"):
        models.join([MEMBERS[0], (model, replace(card, recalibration={"map": maps.named(maps.Temper())}))])

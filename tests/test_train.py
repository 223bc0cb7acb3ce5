"""Training: what comes out, that it repeats itself, goes on after a kill, and refuses what cannot train."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast import data, models, train
from holdfast.attacks import APGD, FGSM, IFGSM, MIFGSM, PGD, Noise, run
from holdfast.errors import DataError, HoldfastError, ModelError, OptionError, RunError
from holdfast.options import parse, to_plain
from holdfast.threats import L2, Linf
from holdfast.train import Adversary, Count, Epoch, Recipe, TrainOptions, card_for
from holdfast.train.adversary import JUDGE
from holdfast.train.course import Course, Moment
from holdfast.train.cut import batches
from holdfast.train.epochs import one_epoch
from holdfast.train.history import lines
from holdfast.train.opposed import attacked
from holdfast.train.optimiser import make_optimiser
from holdfast.train.passes import counted
from holdfast.train.schedule import rate
from holdfast.train.state import State
from trainings import digits, same, weights

QUICK = TrainOptions(epochs=3, batch=32, learning_rate=0.01)
FEW = TrainOptions(epochs=1, batch=3)
PGD3 = PGD(steps=3, step_size=0.4)


pictures = digits("train", 200)
validation = digits("validation", 50)


# What comes out


def test_learns_the_digits(pictures, validation):
    trained = train.train(
        card_for("cnn", pictures), pictures, recipe=Recipe(options=replace(QUICK, epochs=8)), validation=validation
    )
    assert trained.history[-1].validation.rate > 0.7
    assert trained.history[-1].loss < 0.5 * trained.history[0].loss
    assert not trained.model.training
    assert [epoch.number for epoch in trained.history] == list(range(1, 9))


def test_adversarial_training_hardens(pictures, validation):
    threat, options = Linf(eps=0.1), replace(QUICK, epochs=10)
    card = card_for("cnn", pictures)
    plain = train.train(card, pictures, recipe=Recipe(options=options)).model
    hard = train.train(
        card, pictures, recipe=Recipe(options=options, adversary=Adversary(PGD3, threat)), validation=validation
    ).model
    x, y = validation.x(), validation.labels
    left = [int((~run(PGD(steps=10), model, x, y, threat).success).sum()) for model in (plain, hard)]
    assert left[1] > left[0] + 5


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "batch_norm": True}], ids=["plain", "dropout"])
@pytest.mark.parametrize("attack", [None, PGD3], ids=["ordinary", "adversarial"])
def test_same_seed_same_weights(pictures, options, attack):
    def go(seed):
        adversary = Adversary(attack, Linf(eps=0.1)) if attack else None
        card = card_for("cnn", pictures, options)
        once = replace(QUICK, epochs=1)
        return train.train(card, pictures, recipe=Recipe(options=once, adversary=adversary), seed=seed).model

    assert same(go(5), go(5))
    assert not same(go(5), go(6))


def test_leaves_the_global_generator_alone(pictures):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train.train(card_for("cnn", pictures, {"dropout": 0.5}), pictures, recipe=Recipe(options=QUICK))
    assert torch.equal(torch.rand(3), expected)


def test_does_not_depend_on_the_global_generator(pictures):
    card = card_for("cnn", pictures, {"dropout": 0.5})
    torch.manual_seed(1)
    one = train.train(card, pictures, recipe=Recipe(options=QUICK)).model
    torch.manual_seed(2)
    assert same(one, train.train(card, pictures, recipe=Recipe(options=QUICK)).model)


def test_validation_decides_nothing(pictures, validation):
    card = card_for("mlp", pictures, {"batch_norm": True})
    without = train.train(card, pictures, recipe=Recipe(options=QUICK)).model
    assert same(
        without,
        train.train(
            card,
            pictures,
            recipe=Recipe(options=QUICK),
            validation=validation,
        ).model,
    )


JUDGED_BY = {"few steps": (FGSM(), JUDGE), "enough": (PGD(steps=8, step_size=0.3), PGD(steps=8, step_size=0.3))}


@pytest.mark.parametrize(("attack", "judge"), JUDGED_BY.values(), ids=JUDGED_BY)
def test_validation_is_counted_as_by_hand(pictures, validation, attack, judge):
    threat = Linf(eps=0.05)
    trained = train.train(
        card_for("mlp", pictures),
        pictures,
        recipe=Recipe(options=replace(QUICK, attacked=20), adversary=Adversary(attack, threat)),
        validation=validation,
    )
    x, y = validation.x(), validation.labels
    with torch.no_grad():
        right = int((trained.model(x).argmax(1) == y).sum())
    assert trained.history[-1].validation == Count(right, 50)
    key = Course(Recipe(options=QUICK), 0).key(0, "validation")
    broken = run(judge, trained.model, x[:20], y[:20], threat, seed=key).success
    wrong = trained.model(x[:20]).argmax(1) != y[:20]
    assert trained.history[-1].robust == Count(20 - int((broken | wrong).sum()), 20)
    assert trained.history[-1].validation != trained.history[-1].robust


def test_attack_leaves_batch_norm_alone(pictures):
    model = models.build("cnn", {"batch_norm": True}, shape=(1, 8, 8), classes=10, seed=0)
    train.train(
        model, pictures, recipe=Recipe(options=replace(QUICK, epochs=1), adversary=Adversary(PGD3, Linf(eps=0.1)))
    )
    seen = [m.num_batches_tracked.item() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert seen == [len(batches(len(pictures), 32, 0))] * 2


def test_frozen_weights_stay(pictures):
    model = models.build("mlp", shape=(1, 8, 8), classes=10, seed=0)
    frozen = model[1]
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    before, other = weights(frozen), model[-1].weight.detach().clone()
    train.train(model, pictures, recipe=Recipe(options=replace(QUICK, epochs=1)))
    assert same(frozen, before)
    assert not torch.equal(model[-1].weight, other)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_a_module_in_double_precision_trains(pictures, validation):
    model = models.build("linear", shape=(1, 8, 8), classes=10, seed=0).double()
    made = train.train(
        model,
        pictures,
        recipe=Recipe(options=replace(QUICK, epochs=1), adversary=Adversary(FGSM(), L2(eps=0.2))),
        validation=validation,
    )
    assert made.model is model
    assert (made.card, made.folder) == (None, None)


# The parts


@settings(max_examples=30)
@given(count=st.integers(1, 50), batch=st.integers(1, 20), seed=st.integers(0, 2**63 - 1))
def test_batches_hold_every_picture_once(count, batch, seed):
    parts = batches(count, batch, seed)
    assert sorted(torch.cat(parts).tolist()) == list(range(count))
    assert all(len(part) <= batch + 1 for part in parts)
    assert batch == 1 or count == 1 or all(len(part) > 1 for part in parts)


def test_every_epoch_has_its_own_order_dropout_and_noise():
    course = Course(Recipe(options=QUICK), 7)
    keys = {course.key(epoch, use) for epoch in range(20) for use in ("order", "dropout", "attack")}
    assert len(keys) == 60
    assert not keys & {Course(Recipe(options=QUICK), 8).key(epoch, "order") for epoch in range(20)}


def test_one_cycle_rises_then_falls():
    options = TrainOptions(learning_rate=0.5)
    assert [rate(options, time) for time in (0.0, 0.1, 0.2, 0.6)] == pytest.approx([0.0, 0.25, 0.5, 0.25])
    assert rate(options, 1 - 1e-9) == pytest.approx(0, abs=1e-8)
    assert {rate(replace(options, schedule="constant"), time) for time in (0.0, 0.5, 0.99)} == {0.5}


def test_the_step_size_follows_the_schedule(pictures):
    model = models.build("linear", shape=(1, 8, 8), classes=10, seed=0)
    options = TrainOptions(epochs=2, batch=100, optimiser="sgd", learning_rate=0.4, momentum=0.0)
    optimiser = make_optimiser(model, options)
    used = []
    optimiser.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    state = State.begin(model, options, torch.device("cpu"))
    state.optimiser = optimiser
    for _ in range(2):
        state.finish_epoch(one_epoch(state, pictures, Course(Recipe(options=options), 0), lambda state: None), options)
    assert used == pytest.approx([rate(options, time) for time in (0, 0.25, 0.5, 0.75)])


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({}, torch.optim.AdamW, {"lr": 0.003, "weight_decay": 5e-4}),
        ({"optimiser": "adam", "learning_rate": 0.1, "weight_decay": 0.0}, torch.optim.Adam, {"lr": 0.1}),
        ({"optimiser": "sgd"}, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        ({"optimiser": "sgd", "momentum": 0.0}, torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
    ],
)
def test_optimisers_get_their_options(options, kind, expected):
    made = make_optimiser(nn.Linear(2, 2), TrainOptions(**options))
    assert type(made) is kind
    assert {name: made.param_groups[0][name] for name in expected} == expected


@pytest.mark.parametrize("threat", [Linf(eps=0.2), L2(eps=0.5)], ids=["linf", "l2"])
@pytest.mark.parametrize(("mix", "moved"), [(1.0, 8), (0.5, 4), (0.01, 1)])
def test_mix_attacks_a_share_of_the_batch_within_the_threat(pictures, threat, mix, moved):
    model = train.train(card_for("mlp", pictures), pictures, recipe=Recipe(options=replace(QUICK, epochs=10))).model
    with torch.no_grad():
        right = (model(pictures.x()).argmax(1) == pictures.labels).nonzero().flatten()[:8]
    part = pictures.take(right)
    course = Course(Recipe(options=replace(QUICK, mix=mix), adversary=Adversary(PGD3, threat)), 0)
    x_adv = attacked(model, part.x(), part.labels, part.place, course, Moment(1, 1, 1))
    changed = (x_adv != part.x()).flatten(1).any(1)
    assert changed.tolist() == [True] * moved + [False] * (8 - moved)
    assert threat.size(x_adv - part.x()).max() <= threat.eps + 1e-6
    assert nn.functional.cross_entropy(model(x_adv), part.labels) > nn.functional.cross_entropy(
        model(part.x()), part.labels
    )


def test_the_adversary_is_the_librarys_own_attack(pictures):
    recipe = Recipe(options=replace(QUICK, epochs=8))
    model = train.train(card_for("mlp", pictures), pictures, recipe=recipe).model
    x, y, place, threat = pictures.x(), pictures.labels, pictures.place, Linf(eps=0.15)
    best = run(APGD(steps=5), model, x, y, threat, seed=3, aim="highest_loss")
    assert torch.equal(Adversary(APGD(steps=5), threat).harden(model, x, y, place, seed=3), best.x_adv)
    straight = PGD(steps=5, step_size=0.2)
    moved = Adversary(straight, threat).harden(model, x, y, place, seed=3)
    found = run(straight, model, x, y, threat, seed=3, aim="highest_loss")
    last = (moved == found.x_adv).flatten(1).all(1)
    assert last.float().mean() > 0.7  # where the last point is the best, the engine and the straight way agree
    assert nn.functional.cross_entropy(model(moved), y) > 1.1 * nn.functional.cross_entropy(model(x), y)
    back = torch.arange(len(x)).flip(0)  # noise belongs to the picture, wherever it stands in a batch
    again = Adversary(straight, threat).harden(model, x[back], y[back], place[back], seed=3)
    torch.testing.assert_close(again[back], moved)


def test_a_straight_attack_costs_its_gradients_and_no_look(pictures):
    model = models.build("mlp", shape=(1, 8, 8), classes=10, seed=0)
    x, y, place = pictures.x()[:32], pictures.labels[:32], pictures.place[:32]
    for attack, steps in ((FGSM(), 1), (PGD(steps=7), 7), (IFGSM(steps=3), 3), (MIFGSM(steps=4), 4)):
        with counted(model) as passes:
            Adversary(attack, Linf(eps=0.1)).harden(model, x, y, place, seed=0)
        assert passes.taken() == (32 * steps, 32 * steps)


def test_warm_up_lets_eps_grow(pictures):
    model = train.train(card_for("linear", pictures), pictures, recipe=Recipe(options=QUICK)).model
    part = pictures.take(slice(0, 20))
    course = Course(Recipe(options=replace(QUICK, warm_up=0.5), adversary=Adversary(FGSM(), Linf(eps=0.2))), 0)
    sizes = [
        (attacked(model, part.x(), part.labels, part.place, course, now) - part.x()).abs().max().item()
        for now in (Moment(1, 1, 4), Moment(1, 4, 4), Moment(2, 3, 4), Moment(3, 4, 4))
    ]
    assert sizes == pytest.approx([0.0, 0.1, 0.2, 0.2], abs=1e-6)  # at 0, 1/4, 1/2 and 11/12 of three epochs


def test_statistics_are_those_of_the_pixels(pictures):
    x = pictures.x(dtype=torch.float64)
    assert train.statistics(pictures) == (
        (round(x.mean().item(), 4),),
        (round(x.std(correction=0).item(), 4),),
    )
    colour = data.Pictures.from_arrays(torch.rand(5, 3, 4, 4), torch.tensor([0, 1, 0, 1, 0]))
    colour.images[:, 2] = 0.25
    mean, std = train.statistics(colour)
    assert mean == pytest.approx(colour.images.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert std[2] == 1.0


def test_inner_attack_takes_few_steps_unless_told():
    assert train.inner_attack("pgd") == PGD(steps=7, step_size=0.25)
    assert train.inner_attack("pgd", {"steps": "5"}) == PGD(steps=5, step_size=0.25)
    assert train.inner_attack("fgsm") == FGSM()
    with pytest.raises(OptionError, match="Did you mean 'pgd'"):
        train.inner_attack("pgdd")


def test_history_reads_back():
    history = [Epoch(1, 0.5, Count(1, 2), None, None), Epoch(2, 0.25, Count(2, 2), Count(3, 4), Count(1, 4))]
    assert [Epoch.read(json.loads(line)) for line in lines(history).splitlines()] == history
    assert history[1].validation.rate == 0.75


def test_options_read_back_from_json():
    options = TrainOptions(epochs=3, learning_rate=0.5, optimiser="sgd")
    assert parse(TrainOptions, json.loads(json.dumps(to_plain(options)))) == options


# What is refused

REFUSED = {
    "epochs": ({"epochs": 0}, "epochs=0; allowed: whole numbers >= 1"),
    "batch": ({"batch": 2.5}, "batch=2.5"),
    "attacked": ({"attacked": -1}, "attacked=-1; allowed: whole numbers >= 0"),
    "rate": ({"learning_rate": 0.0}, "learning_rate=0.0; allowed: finite numbers > 0"),
    "nan": ({"learning_rate": float("nan")}, "learning_rate=nan"),
    "decay": ({"weight_decay": -1.0}, "weight_decay=-1.0"),
    "momentum": ({"momentum": 1.0}, "momentum=1.0; allowed: 0 <= momentum < 1"),
    "mix": ({"mix": 0.0}, "for no adversarial pictures, name no attack"),
    "warm_up": ({"warm_up": 1.5}, "warm_up=1.5"),
    "optimiser": ({"optimiser": "lion"}, "optimiser='lion'"),
    "schedule": ({"schedule": "cosines"}, "schedule='cosines'; allowed: one-cycle, cosine"),
    "milestones": ({"milestones": (0.7, 0.5)}, "milestones=(0.7, 0.5)"),
    "patience": ({"patience": 3}, "patience=3 with watch='none'"),
    "ghost": ({"ghost": 1}, "ghost=1; allowed: whole numbers >= 2"),
    "clip": ({"clip": -1.0}, "clip=-1.0"),
    "average": ({"average": "mean"}, "average='mean'; allowed: none, ema, swa"),
}


@pytest.mark.parametrize(("options", "text"), REFUSED.values(), ids=REFUSED)
def test_options_are_checked(options, text):
    with pytest.raises(OptionError) as caught:
        TrainOptions(**options)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def floats(scale):
    return data.Pictures.from_arrays(torch.rand(6, 1, 8, 8) * scale, torch.arange(6))


WRONG = {
    "fewer than a batch": ({"recipe": Recipe()}, DataError, "6 pictures are fewer than a batch of 128"),
    "empty class": ({"pictures": floats(1).take([0, 1, 2, 4, 5])}, DataError, "no training pictures of class '3'"),
    "watch nothing": (
        {"recipe": Recipe(options=replace(FEW, watch="validation"))},
        OptionError,
        "watch='validation' without validation pictures",
    ),
    "plateau of nothing": (
        {"recipe": Recipe(options=replace(FEW, schedule="plateau"))},
        OptionError,
        "schedule='plateau' without validation pictures",
    ),
    "scale": ({"pictures": floats(255)}, DataError, "Divide 0-255 pictures by 255"),
    "empty": ({"pictures": floats(1).take(slice(0, 0))}, DataError, "no pictures in split"),
    "validation shape": (
        {"validation": data.Pictures.from_arrays(torch.rand(2, 1, 4, 4), torch.tensor([0, 1]))},
        DataError,
        "(1, 4, 4) in 2 classes; allowed: as the training pictures, (1, 8, 8) in 6 classes",
    ),
    "module and folder": ({"out": "never"}, OptionError, "out given for a module without a card"),
    "no weights": ({"model": nn.Flatten()}, ModelError, "answered two pictures with (2, 64)"),
    "wrong shape": ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))}, ModelError, "(2, 3)"),
}


@pytest.mark.parametrize(("change", "kind", "text"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_clear_line(change, kind, text):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
    arguments = {"model": net, "pictures": floats(1), "recipe": Recipe(options=FEW), **change}
    model, pictures = arguments.pop("model"), arguments.pop("pictures")
    with pytest.raises(kind) as caught:
        train.train(model, pictures, **arguments)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_frozen_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6)).requires_grad_(False)
    with pytest.raises(ModelError, match="no weights to train"):
        train.train(model, floats(1), recipe=Recipe(options=FEW))


def test_adversaries_are_checked():
    with pytest.raises(OptionError, match="one number for all pictures"):
        Adversary(PGD(), Linf(eps=torch.ones(6)))
    with pytest.raises(OptionError, match="attacks by gradient"):
        Adversary(Noise(), Linf(eps=0.1))
    with pytest.raises(OptionError, match="watch='robust' without pictures under attack"):
        Recipe(options=replace(QUICK, watch="robust"))


@pytest.mark.parametrize("attack", [None, PGD3], ids=["ordinary", "adversarial"])
def test_a_loss_that_is_not_finite_stops_with_advice_and_saves_nothing(pictures, tmp_path, attack):
    options = TrainOptions(
        epochs=2, batch=50, optimiser="sgd", learning_rate=1e30, schedule="constant", weight_decay=0.0
    )
    recipe = Recipe(options=options, adversary=Adversary(attack, Linf(eps=0.1)) if attack else None)
    with pytest.raises(ModelError) as caught:
        train.train(card_for("mlp", pictures), pictures, recipe=recipe, out=tmp_path / "run")
    assert "finite at step 2 of 4 in epoch 1" in str(caught.value)
    assert "try learning_rate=1e+29" in str(caught.value)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["train.json"]


def test_the_step_that_broke_is_named(pictures):
    class Breaks(nn.Linear):
        calls = 0

        def forward(self, x):
            if self.training:
                self.calls += 1
            return super().forward(x) * (float("nan") if self.calls == 3 else 1.0)

    once = Recipe(options=TrainOptions(epochs=1, batch=50))
    with pytest.raises(ModelError, match=r"at step 3 of 4 in epoch 1, on the pictures at .* and 47 more"):
        train.train(nn.Sequential(nn.Flatten(), Breaks(64, 10)), pictures, recipe=once)


def test_weights_ruined_by_the_last_step_are_noticed(pictures):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    options = replace(QUICK, batch=200)
    state = State.begin(model, options, torch.device("cpu"))
    state.optimiser.register_step_post_hook(lambda *_: model[1].weight.data.fill_(float("inf")))
    with pytest.raises(ModelError, match="last step of epoch 1"):
        one_epoch(state, pictures, Course(Recipe(options=options), 0), lambda state: None)


def test_errors_are_holdfasts_own():
    assert issubclass(RunError, HoldfastError)

"""What the options of training do, each against the same done by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast import models, train
from holdfast.attacks import PGD
from holdfast.errors import ModelError
from holdfast.threats import Linf
from holdfast.train import Adversary, Count, Recipe, TrainOptions, card_for, epochs
from holdfast.train.course import Course
from holdfast.train.epochs import one_epoch
from holdfast.train.labels import Labels
from holdfast.train.loss import CrossEntropy
from holdfast.train.optimiser import groups_of
from holdfast.train.schedule import plateaus, rate
from holdfast.train.state import State
from holdfast.train.step import Step
from trainings import digits, weights

CPU = torch.device("cpu")
PLAIN = TrainOptions(epochs=4, batch=25, optimiser="sgd", learning_rate=0.05)


pictures = digits("train", 100)
validation = digits("validation", 20)


def close(one, other, **slack):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **slack)


def build(name, **options):
    return models.build(name, options, shape=(1, 8, 8), classes=10, seed=0)


def begin(model, options):
    return State.begin(model, options, CPU), Course(Recipe(options=options), 0)


def all_epochs(state, pictures, course, validation=None):
    """The weights after each epoch."""
    return [weights(state.model) for _ in epochs.epochs(state, pictures, validation, course, lambda state: None)]


# The step size

CURVES = {
    "one-cycle": ({}, {0.0: 0.0, 0.1: 0.5, 0.2: 1.0, 0.6: 0.5}),
    "one-cycle, late": ({"rise": 0.5}, {0.25: 0.5, 0.5: 1.0, 0.75: 0.5}),
    "cosine": ({"schedule": "cosine"}, {0.0: 1.0, 0.25: 0.5 + 0.5**1.5, 0.5: 0.5, 0.75: 0.5 - 0.5**1.5}),
    "cosine after a rise": ({"schedule": "cosine", "rise": 0.2}, {0.1: 0.5, 0.2: 1.0, 0.6: 0.5}),
    "step": ({"schedule": "step"}, {0.0: 1.0, 0.49: 1.0, 0.5: 0.1, 0.74: 0.1, 0.75: 0.01, 0.99: 0.01}),
    "own steps": ({"schedule": "step", "milestones": (0.3,), "factor": 0.5}, {0.29: 1.0, 0.3: 0.5, 0.9: 0.5}),
    "constant": ({"schedule": "constant"}, {0.0: 1.0, 0.99: 1.0}),
    "constant after a rise": ({"schedule": "constant", "rise": 0.5}, {0.0: 0.0, 0.25: 0.5, 0.5: 1.0, 0.9: 1.0}),
}


@pytest.mark.parametrize(("options", "curve"), CURVES.values(), ids=CURVES)
def test_the_step_size_over_time(options, curve):
    made = TrainOptions(learning_rate=3.0, **options)
    assert {time: rate(made, time) / 3 for time in curve} == pytest.approx(curve)


def test_a_plateau_is_so_many_epochs_in_a_row_without_a_lower_error():
    assert plateaus([], 1) == 0
    assert plateaus([0.5, 0.4, 0.3, 0.2], 1) == 0
    assert plateaus([0.5, 0.5, 0.5], 1) == 2
    assert plateaus([0.5, 0.6, 0.4, 0.5, 0.3], 2) == 0, "a lower error begins the count anew"
    assert plateaus([0.4, 0.5, 0.5, 0.5, 0.5], 2) == 2
    made = TrainOptions(learning_rate=1.0, schedule="plateau", stalled=2, factor=0.5)
    assert [rate(made, 0.9, errors) for errors in ([], [0.4], [0.4, 0.4, 0.4])] == [1.0, 1.0, 0.5]


def test_a_plateau_in_training(pictures, validation):
    options = replace(PLAIN, learning_rate=1e-12, schedule="plateau", stalled=1, factor=0.5)
    found = train.train(
        build("linear"), pictures, recipe=Recipe(options=replace(options, epochs=4)), validation=validation
    )
    assert [epoch.learning_rate for epoch in found.history] == [1e-12, 1e-12, 5e-13, 2.5e-13]


# The step


def test_clip_bounds_the_whole_gradient(pictures):
    options = replace(
        PLAIN, batch=100, epochs=1, learning_rate=1.0, schedule="constant", momentum=0.0, weight_decay=0.0, clip=0.01
    )
    model = build("mlp")
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    state, course = begin(model, options)
    one_epoch(state, pictures, course, lambda state: None)
    moved = nn.utils.parameters_to_vector(model.parameters()) - before
    assert moved.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_biases_and_norms_are_spared_from_decay():
    model = build("cnn", batch_norm=True)
    kind = {}
    for module in model.modules():
        weighs = isinstance(module, nn.Conv2d | nn.Linear)
        kind |= {id(p): weighs and name == "weight" for name, p in module.named_parameters(recurse=False)}
    pulled, spared = groups_of(model, replace(PLAIN, decay="weights", weight_decay=0.3))
    assert (pulled["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    assert all(kind[id(p)] for p in pulled["params"])
    assert not any(kind[id(p)] for p in spared["params"])
    (together,) = groups_of(model, replace(PLAIN, weight_decay=0.3))
    assert len(together["params"]) == len(pulled["params"]) + len(spared["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_the_fused_optimiser_moves_as_the_plain_one(pictures, optimiser):
    options = replace(PLAIN, optimiser=optimiser, learning_rate=0.01, decay="weights", weight_decay=0.1)
    found = []
    for fused in (True, False):
        model = build("cnn")
        state, course = begin(model, options)
        for group in state.optimiser.param_groups:
            assert group["fused"]
            group["fused"] = fused
        one_epoch(state, pictures, course, lambda state: None)
        found.append(weights(model))
    # An Adam step is as long for a tiny gradient, of which rounding is a part.
    close(*found, rtol=1e-3, atol=1e-4)


# Means of the weights


def test_ema_is_the_moving_mean_of_every_step(pictures):
    options = replace(PLAIN, average="ema", average_decay=0.8)
    state, course = begin(build("cnn", batch_norm=True), options)
    seen = []
    state.optimiser.register_step_post_hook(lambda *_: seen.append(weights(state.model)))
    one_epoch(state, pictures, course, lambda state: None)
    mean = {name: value for name, value in seen[0].items() if value.is_floating_point()}  # not the counts of batches
    for later in seen[1:]:
        mean = {name: 0.8 * value + 0.2 * later[name] for name, value in mean.items()}
    assert len(seen) == 4
    assert any("running_var" in name for name in mean)
    found = weights(state.average.module)
    close({name: found[name] for name in mean}, mean)


def test_swa_is_the_mean_of_epochs_with_statistics_of_its_own(pictures):
    options = replace(PLAIN, average="swa", average_from=0.5, learning_rate=0.1, schedule="constant")
    model = build("cnn", batch_norm=True)
    state, course = begin(model, options)
    after = all_epochs(state, pictures, course)
    mean = {name: (after[2][name] + after[3][name]) / 2 for name, _ in model.named_parameters()}
    found = weights(state.average.module)
    close({name: found[name] for name in mean}, mean)
    by_hand = build("cnn", batch_norm=True)
    by_hand.load_state_dict({**after[3], **mean})
    norms = [module for module in by_hand.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    by_hand.train()(pictures.x())
    close(found, weights(by_hand))
    name = next(name for name in found if name.endswith("running_mean"))
    assert not torch.allclose(found[name], after[3][name]), "those of the last weights are not those of the mean"


def test_before_its_time_swa_is_the_model(pictures):
    options = replace(PLAIN, average="swa", average_from=0.9, epochs=2)
    model = build("mlp")
    state, course = begin(model, options)
    seen = [weights(state.average.module) for _ in epochs.epochs(state, pictures, None, course, lambda state: None)]
    first = next(iter(seen[0]))
    assert not torch.equal(*(one[first] for one in seen))
    close(seen[1], weights(model), rtol=0, atol=0)


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_the_mean_is_what_is_scored_and_kept(pictures, validation, average):
    options = replace(PLAIN, average=average, average_decay=0.9, average_from=0.0)
    found = train.train(card_for("mlp", pictures), pictures, recipe=Recipe(options=options), validation=validation)
    with torch.no_grad():
        right = int((found.model(validation.x()).argmax(1) == validation.labels).sum())
    assert found.history[-1].validation == Count(right, 20)
    plain = train.train(card_for("mlp", pictures), pictures, recipe=Recipe(options=replace(options, average="none")))
    assert found.history[-1].loss == plain.history[-1].loss, "the mean does not train"
    assert not torch.equal(found.model(validation.x()), plain.model(validation.x()))


# Passes


def test_bfloat16_is_of_the_passes_and_not_of_the_weights(pictures):
    types = []
    model = build("cnn")
    model.register_forward_hook(lambda module, given, logits: types.append(logits.dtype))
    found = train.train(model, pictures, recipe=Recipe(options=replace(PLAIN, precision="bfloat16")))
    assert torch.bfloat16 in types
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    whole = train.train(build("cnn"), pictures, recipe=Recipe(options=PLAIN))
    assert found.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=0.02)
    assert found.history[-1].loss != whole.history[-1].loss


def test_the_memory_layout_changes_nothing(pictures):
    one, other = build("cnn", batch_norm=True), build("cnn", batch_norm=True)
    train.train(one, pictures, recipe=Recipe(options=PLAIN))
    train.train(other, pictures, recipe=Recipe(options=replace(PLAIN, channels_last=True)))
    wide = [weight for weight in other.parameters() if weight.ndim == 4 and weight.shape[1] > 1]
    assert wide
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in wide)
    close(weights(one), weights(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("count", "parts"), [(20, (8, 8, 4)), (17, (8, 9)), (8, (8,)), (5, (5,))])
def test_ghost_batches_are_normalised_each_by_itself(pictures, count, parts):
    model, by_hand = (build("mlp", batch_norm=True).train() for _ in range(2))
    x, labels = pictures.x()[:count], Labels(pictures.labels[:count])
    step = Step(model, x, labels, pictures.place[:count], x, CrossEntropy(), 0, ghost=8)
    expected = torch.cat([by_hand(part) for part in torch.split(x, parts)])
    assert torch.equal(step.logits, expected)
    close(weights(model), weights(by_hand), rtol=0, atol=0)
    if len(parts) > 1:
        assert not torch.allclose(step.logits, by_hand(x))


# The best epoch


@pytest.fixture
def scripted(monkeypatch):
    """Scores as they are written here, and the weights that were scored."""
    scored = []

    def play(rates, robust=None):
        def scores(model, validation, course):
            scored.append(weights(model))
            number = len(scored) - 1
            return Count(rates[number], 10), None if robust is None else Count(robust[number], 10)

        monkeypatch.setattr(epochs, "scores", scores)
        return scored

    return play


WATCHED = {
    "validation": ("validation", [3, 5, 4, 5, 2, 9], None),
    "robust": ("robust", [1, 2, 3, 4, 5, 6], [3, 5, 4, 5, 2, 9]),
}


@pytest.mark.parametrize(("watch", "rates", "robust"), WATCHED.values(), ids=WATCHED)
def test_the_best_epoch_is_kept_and_training_ends_in_time(
    pictures, validation, tmp_path, scripted, watch, rates, robust
):
    scored = scripted(rates, robust)
    options = replace(PLAIN, epochs=9, watch=watch, patience=3)
    recipe = Recipe(options=options, adversary=Adversary(PGD(steps=1), Linf(eps=0.05)) if robust else None)
    found = train.train(card_for("mlp", pictures), pictures, recipe=recipe, validation=validation, out=tmp_path / "run")
    assert [epoch.number for epoch in found.history] == [1, 2, 3, 4, 5], "three epochs after the best"
    close(weights(found.model), scored[1], rtol=0, atol=0)  # the first of two that are as good
    kept, card = models.load(tmp_path / "run")
    close(weights(kept), scored[1], rtol=0, atol=0)
    assert (card.training["epochs"], card.training["scores"]["number"]) == (5, 2)
    close(weights(models.load(tmp_path / "run" / "last")[0]), scored[4], rtol=0, atol=0)
    again = train.train(
        card_for("mlp", pictures), pictures, recipe=recipe, validation=validation, out=tmp_path / "run", resume=True
    )
    assert again.history == found.history
    close(weights(again.model), scored[1], rtol=0, atol=0)
    assert len(scored) == 5


def test_a_best_last_epoch_needs_no_second_folder(pictures, validation, tmp_path, scripted):
    scored = scripted([1, 2, 3, 4])
    recipe = Recipe(options=replace(PLAIN, watch="validation", patience=1))
    found = train.train(card_for("mlp", pictures), pictures, recipe=recipe, validation=validation, out=tmp_path / "run")
    close(weights(found.model), scored[3], rtol=0, atol=0)


def test_the_best_of_a_mean_is_the_mean(pictures, validation, scripted):
    scored = scripted([1, 9, 3, 4])
    recipe = Recipe(options=replace(PLAIN, watch="validation", average="ema", average_decay=0.9))
    found = train.train(card_for("mlp", pictures), pictures, recipe=recipe, validation=validation)
    close(weights(found.model), scored[1], rtol=0, atol=0)


# Losses that are looked at now and then


def test_the_first_of_several_losses_that_broke_is_named(pictures, monkeypatch):
    class Breaks(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += self.training
            return super().forward(x) * (float("nan") if self.calls == 2 else 1.0)

    monkeypatch.setattr(epochs, "FEW_STEPS", 3)
    model = nn.Sequential(nn.Flatten(), Breaks(64, 10))
    with pytest.raises(ModelError, match=r"finite at step 2 of 10 in epoch 1, on the pictures at .* and 7 more"):
        train.train(model, pictures, recipe=Recipe(options=replace(PLAIN, batch=10)))
    assert model[1].calls == 3

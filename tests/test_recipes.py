"""Recipe files: what they mean, all that is wrong with one at once, flags laid over them, and what they train."""

import re
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast import models, train
from holdfast.attacks import FGSM, PGD, DeepFool
from holdfast.augment import AugMix, Crop, Mirror, Mixup, augmented
from holdfast.errors import DataError, ModelError, OptionError, OptionErrors
from holdfast.losses.training import jensen_shannon, mixed_cross_entropy, mixed_log_likelihood
from holdfast.threats import L2, Linf
from holdfast.train import (
    AWP,
    LOSSES,
    METHODS,
    PENALTIES,
    TRADES,
    Adversary,
    CrossEntropy,
    Recipe,
    TrainOptions,
    card_for,
    read_recipe,
    recipe_text,
    shipped,
)
from holdfast.train.course import Course, Moment
from holdfast.train.penalties import Consistency
from holdfast.train.recipe_file import lines, overlaid
from holdfast.train.steps import differentiate, prepared
from trainings import digits

WHOLE = """
seed = 3
[data]
name = "digits"
limit = 200
validation = false
[model]
name = "cnn"
width = 0.5
normalize = false
[train]
epochs = 2
batch = 50
schedule = "step"
milestones = [0.5]
[loss]
name = "cross-entropy"
smoothing = 0.1
[[augment]]
name = "crop"
pad = 1
[[augment]]
name = "mirror"
[[penalties]]
name = "consistency"
weight = 3
[adversary.attack]
name = "pgd"
steps = 3
[adversary.threat]
name = "l2"
eps = "1/4"
"""


pictures = digits("train", 200)


def test_a_recipe_says_everything():
    planned = read_recipe(WHOLE)
    assert (planned.seed, planned.data.name, planned.data.limit, planned.data.validation) == (3, "digits", 200, False)
    assert (planned.model.name, dict(planned.model.options), planned.model.normalize) == ("cnn", {"width": 0.5}, False)
    assert planned.recipe == Recipe(
        options=TrainOptions(epochs=2, batch=50, schedule="step", milestones=(0.5,)),
        loss=CrossEntropy(smoothing=0.1),
        augment=(Crop(pad=1), Mirror()),
        penalties=(Consistency(weight=3),),
        adversary=Adversary(PGD(steps=3, step_size=0.25), L2(eps=0.25)),
    )


def test_an_empty_recipe_is_the_usual_training():
    planned = read_recipe("")
    assert planned.recipe == Recipe()
    assert (planned.data.name, planned.model.name, planned.seed) == (None, None, 0)


def test_an_attack_that_heeds_no_radius_needs_none():
    planned = read_recipe('[adversary.attack]\nname = "deepfool"\n[adversary.threat]\nname = "l2"')
    assert planned.recipe.adversary == Adversary(DeepFool(), L2(eps=0.0))


def test_several_threats_a_method_and_moved_weights():
    text = """
    [adversary]
    combine = "average"
    attack = {name = "fast"}
    threat = {eps = 0.1}
    method = {name = "trades", beta = 3}
    [[adversary.further]]
    name = "l2"
    eps = 1
    [awp]
    gamma = 0.01
    """
    found = read_recipe(text).recipe
    once = PGD(steps=1, step_size=1.25)
    expected = Adversary(once, Linf(eps=0.1), TRADES(beta=3), further=(L2(eps=1.0),), combine="average")
    assert found == Recipe(adversary=expected, awp=AWP(gamma=0.01))
    with pytest.raises(OptionError, match=r"line 7: adversary\.further has no eps"):
        read_recipe(text.replace("eps = 1\n", "\n"), "mine")


def test_the_usual_threat_and_few_steps():
    planned = read_recipe('[adversary.attack]\nname = "pgd"\n[adversary.threat]\neps = 0.1')
    assert planned.recipe.adversary == Adversary(PGD(steps=7, step_size=0.25), Linf(eps=0.1))


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_read_and_say_what_they_are(name):
    text = recipe_text(name)
    assert text.startswith("# ")
    planned = read_recipe(text, name)
    assert planned.data.name
    models.architecture(planned.model.name, planned.model.options)


def test_the_recipe_of_the_guide_reads():
    guide = (Path(__file__).parents[1] / "docs/training.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```", guide, flags=re.MULTILINE | re.DOTALL)
    planned = read_recipe(text)
    assert planned.recipe.adversary.method == TRADES(beta=6)
    assert len(planned.recipe.augment) == 2


WRONG = """
seed = -1
[data]
limt = 3
[model]
name = "cnnn"
[train]
epochs = "many"
momentum = 0.3
batchh = 3
warm_up = 0.1
[loss]
smoothing = 0.1
[[augment]]
name = "crop"
pad = -1
[[penalties]]
name = "consistensy"
[nonsense]
a = 3
"""


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines():
    with pytest.raises(OptionErrors) as caught:
        read_recipe(WRONG, "mine.toml")
    expected = [
        (2, "seed=-1; allowed: whole numbers >= 0"),
        (4, "'limt'; known: limit, name, resize, validation. Did you mean 'limit'"),
        (6, "unknown model 'cnnn'"),
        (8, "epochs='many'; allowed: a whole number"),
        (9, "train.momentum does nothing with optimiser='adamw'; allowed: with optimiser=sgd"),
        (10, "Did you mean 'batch'"),
        (11, "train.warm_up does nothing without an adversary"),
        (12, "loss has no name; allowed: cross-entropy"),
        (16, "pad=-1"),
        (18, "unknown penalty 'consistensy'"),
        (19, "unknown table of a recipe 'nonsense'"),
    ]
    problems = caught.value.problems
    assert len(problems) == len(expected)
    for problem, (line, text) in zip(problems, expected):
        assert problem.startswith(f"mine.toml, line {line}: ")
        assert text in problem


ONE_WRONG = {
    "no table": ("train = 3", "train=3; allowed: a table, [train]"),
    "no list": ("penalties = 3", "allowed: a list of tables, [[penalties]]"),
    "one table for a list": ('[augment]\nname = "crop"', "augment"),
    "no eps": ('[adversary.attack]\nname = "fgsm"', "adversary.threat has no eps"),
    "no attack": ("[adversary.threat]\neps = 0.1", "adversary.attack has no name; allowed: fgsm"),
    "unknown part": (
        '[adversary]\nthreats = 1\nattack = {name = "fgsm"}\nthreat = {eps = 0.1}',
        "Did you mean 'threat'",
    ),
    "labels only": ('[adversary.attack]\nname = "noise"\n[adversary.threat]\neps = 0.1', "attacks by gradient"),
    "watch nothing": ('[train]\nwatch = "robust"', "watch='robust' without pictures under attack"),
    "mixup attacked": (
        '[mixup]\n[adversary]\nattack = {name = "fgsm"}\nthreat = {eps = 0.1}',
        "mixup with an adversary",
    ),
    "mixup smoothed": ('[mixup]\n[loss]\nname = "cross-entropy"\nsmoothing = 0.1', "mixup with loss CrossEntropy"),
    "patience": ("[train]\npatience = 3", "train.patience does nothing with watch='none'"),
    "model options": ('[model]\nname = "x.py:net"\nwidth = 2', "with a registered name only"),
    "normalize": ("[model]\nnormalize = 3", 'allowed: true, false or "pixels"'),
    "broken": ("[train", "is not TOML"),
}


@pytest.mark.parametrize(("text", "told"), ONE_WRONG.values(), ids=ONE_WRONG)
def test_one_problem_is_one_line(text, told):
    with pytest.raises(OptionError) as caught:
        read_recipe(text)
    assert told in str(caught.value)


def test_lines_are_those_of_tables_and_keys():
    found = lines('a = 1\n[b.c]\nd = 2\n[[e]]\nf = 3\n[[e]]\n"g" = 4\n')
    assert found == {
        ("a",): 1,
        ("b", "c"): 2,
        ("b", "c", "d"): 3,
        ("e", 0): 4,
        ("e", 0, "f"): 5,
        ("e", 1): 6,
        ("e", 1, "g"): 7,
    }


def test_flags_are_laid_over_a_recipe():
    planned = read_recipe(WHOLE, over={"train": {"epochs": "7"}, "adversary": {"attack": {"name": "fgsm"}}})
    assert planned.recipe.options.epochs == 7
    assert planned.recipe.options.batch == 50
    assert planned.recipe.adversary.attack == FGSM()  # without the steps of the attack it takes the place of
    with pytest.raises(OptionError) as caught:
        read_recipe(WHOLE, "mine.toml", over={"train": {"epochs": "no"}})
    assert "line" not in str(caught.value)


def test_laying_over_keeps_what_is_below():
    below = tomllib.loads(WHOLE)
    assert overlaid(below, {}) == below
    assert overlaid(below, {"model": {"width": "2"}})["model"] == {"name": "cnn", "width": "2", "normalize": False}
    assert overlaid(below, {"model": {"name": "mlp"}})["model"] == {"name": "mlp"}
    assert tomllib.loads(WHOLE) == below


@pytest.mark.parametrize("family", [LOSSES, METHODS, PENALTIES])
def test_a_family_is_known_by_its_own_names(family):
    assert all(kind.name == name for name, kind in family.items())


# What the parts do in training


def step_of(pictures, recipe, model=None):
    model = model or models.build("mlp", shape=(1, 8, 8), classes=10, seed=0)
    return prepared(model, pictures, torch.arange(40), Course(recipe, 0), Moment(2, 3, 5))


def test_pictures_are_augmented_by_their_own_noise_anew_in_each_epoch(pictures):
    recipe = Recipe(augment=(Crop(pad=2), Mirror()))
    course = Course(recipe, 0)
    step = step_of(pictures, recipe)
    expected = augmented(
        pictures.x(torch.arange(40)), recipe.augment, seed=course.key(2, "augment"), place=pictures.place[:40]
    )
    assert torch.equal(step.seen, expected)
    rows = torch.arange(39, -1, -1)
    net = models.build("mlp", shape=(1, 8, 8), classes=10, seed=0)
    other = prepared(net, pictures, rows, course, Moment(2, 1, 5))
    assert torch.equal(other.seen.flip(0), step.seen)  # in whatever batch and order
    later = prepared(net, pictures, rows, course, Moment(3, 1, 5))
    assert not torch.equal(later.seen, other.seen)


@pytest.mark.parametrize(("form", "formula"), [("source", mixed_log_likelihood), ("usual", mixed_cross_entropy)])
def test_mixup_mixes_with_the_next_picture_and_takes_its_loss(pictures, form, formula):
    recipe = Recipe(mixup=Mixup(alpha=0.7, form=form))
    step = step_of(pictures, recipe)
    x, y = pictures.x(torch.arange(40)), pictures.labels[:40]
    share = step.labels.share
    assert share.unique().numel() == 40  # one a picture
    mixed = share[:, None, None, None] * x + (1 - share[:, None, None, None]) * x.roll(-1, 0)
    torch.testing.assert_close(step.seen, mixed)
    assert torch.equal(step.labels.other, y.roll(-1))
    torch.testing.assert_close(step.losses, formula(step.logits, y, y.roll(-1), share))
    assert torch.equal(step.labels.chief, torch.where(share >= 0.5, y, y.roll(-1)))


def test_consistency_is_the_divergence_of_the_picture_and_two_distorted_ones(pictures):
    recipe = Recipe(penalties=(Consistency(weight=2.0),))
    step = step_of(pictures, recipe)
    outcome, total = differentiate(step, Course(recipe, 0), 40)
    x, place = pictures.x(torch.arange(40)), pictures.place[:40]
    views = [augmented(x, [AugMix()], seed=step.seed ^ view, place=place) for view in (1, 2)]
    assert not torch.equal(*views)
    apart = jensen_shannon([step.model(x), *map(step.model, views)])
    expected = nn.functional.cross_entropy(step.model(x), pictures.labels[:40]) + 2 * apart.mean()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(outcome.figures["divergence"], apart)


def test_smoothing_reaches_the_loss(pictures):
    step = step_of(pictures, Recipe(loss=CrossEntropy(smoothing=0.2)))
    y = pictures.labels[:40]
    expected = nn.functional.cross_entropy(step.logits, y, label_smoothing=0.2, reduction="none")
    assert torch.equal(step.losses, expected)


def test_an_augmentation_that_knows_no_grey_pictures_says_so_beforehand(pictures):
    recipe = read_recipe('[[augment]]\nname = "colour"\n[train]\nbatch = 50').recipe
    with pytest.raises(OptionError, match="colour"):
        train.train(card_for("mlp", pictures), pictures, recipe=recipe)


# A user's own architecture

NET = """
from torch import nn

def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_a_users_own_architecture_trains_and_opens_again(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NET)
    state = torch.random.get_rng_state()
    card = card_for("nets.py:small", pictures)
    assert card.mean is None
    once = Recipe(options=TrainOptions(epochs=1, batch=50))
    made = train.train(card, pictures, recipe=once, out=tmp_path / "run")
    again = train.train(card, pictures, recipe=once).model
    assert torch.equal(made.model[1].weight, again[1].weight)  # first weights are drawn from the seed
    assert torch.equal(torch.random.get_rng_state(), state)
    opened = models.open_model(str(tmp_path / "run"), shape=(1, 8, 8), classes=10).model
    assert torch.equal(opened(pictures.x()), made.model(pictures.x()))
    (tmp_path / "nets.py").write_text(NET + "\n")
    with pytest.raises(ModelError, match="the file has changed since the model was trained"):
        models.open_model(str(tmp_path / "run"))
    with pytest.raises(ModelError, match="does not exist"):
        card_for("gone.py:small", pictures)


def test_fewer_pictures_than_a_batch_are_refused_before_anything_is_written(tmp_path, pictures):
    with pytest.raises(DataError, match="fewer than a batch"):
        train.train(card_for("mlp", pictures), pictures.take(slice(0, 60)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""`svm-vs-resnet`: its recipes, its table on small pictures, and what it makes of given numbers."""

import json
from dataclasses import replace
from itertools import product

import pytest
import torch

import reproduce_pictures
from holdfast import models
from holdfast.attacks import FGSM, PGD
from holdfast.errors import OptionError
from holdfast.reproduce import Row, cell_of, reproduce, row
from holdfast.reproduce.part import Part
from holdfast.reproduce.svm_vs_resnet import FULL
from holdfast.reproduce.svm_vs_resnet.classifiers import adversary, classifiers
from holdfast.reproduce.svm_vs_resnet.measuring import largest_error
from holdfast.reproduce.svm_vs_resnet.orderings import orderings
from holdfast.reproduce.svm_vs_resnet.settings import (
    AS_WRITTEN,
    CLEAN,
    COURSE,
    HARD_SVM,
    JUDGE,
    MOST,
    RESNET,
    ROBUST,
    SOFTMAX,
    SVM,
    UNKNOWN,
    Settings,
    pgd,
)
from holdfast.threats import Linf
from holdfast.train import Hinge, read_recipe, recipe_text

TINY = Settings(
    pictures=100, epochs=2, batch=50, linear_batch=20, iterations=30, steps=4, judge_steps=3, radii=(1, 2, 4)
)
ATTACKED = [pgd(radius) for radius in TINY.radii]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("svm") / "run"
    return reproduce_pictures.done_on_small_pictures("svm-vs-resnet", TINY, folder), folder


# The recipes


def test_the_sources_numbers_as_written_and_for_pixels_of_0_to_1():
    made = {one.name: one for one in classifiers(Settings(), 45_000)}
    assert list(made) == [AS_WRITTEN, SVM, COURSE, SOFTMAX, HARD_SVM, RESNET, ROBUST]
    written, same, course = (made[name].recipe for name in (AS_WRITTEN, SVM, COURSE))
    assert (written.options.learning_rate, written.options.weight_decay) == (1e-7, pytest.approx(5e-4))
    assert same.options.learning_rate == pytest.approx(1e-7 * 65025)
    assert same.options.weight_decay == pytest.approx(2 * 2.5e-4 / 65025)  # the slope of lambda w^2
    assert course.options.weight_decay == pytest.approx(2 * 2.5e4 / 65025)
    for recipe in (written, same, course):
        assert recipe.loss == Hinge(margin=1.0)
        assert recipe.options.momentum == 0
        assert (recipe.options.schedule, recipe.options.decay) == ("constant", "weights")
        assert recipe.options.epochs * 45_000 / recipe.options.batch == 1500
    assert replace(made[SOFTMAX].recipe, loss=Hinge()) == same
    assert replace(made[HARD_SVM].recipe, adversary=None) == same


def test_whom_they_are_trained_against():
    made = {one.name: one.recipe.adversary for one in classifiers(Settings(), 45_000)}
    assert [name for name, against in made.items() if against] == [HARD_SVM, ROBUST]
    assert made[ROBUST].attack == PGD(steps=1, step_size=1.25)
    assert made[HARD_SVM].attack == FGSM()
    assert made[ROBUST].threat == made[HARD_SVM].threat == Linf(eps=8 / 255)
    assert adversary(FULL).attack == PGD(steps=7, step_size=2.5 / 7)


def test_the_full_preset_is_the_sources_training():
    options = classifiers(FULL, 45_000)[-2].recipe.options
    assert (FULL.model, FULL.pictures, options.epochs) == ("resnet50", None, 200)
    assert (options.optimiser, options.learning_rate, options.momentum) == ("sgd", 0.1, 0.9)
    assert (options.schedule, options.stalled, options.factor, options.weight_decay) == ("plateau", 10, 0.1, 1e-4)


def test_the_iterations_are_whole_epochs():
    assert Settings().linear_epochs(45_000) == 6
    assert Settings(linear_batch=200).linear_epochs(10_000) == 30
    assert Settings(iterations=6, linear_batch=50).linear_epochs(101) == 2  # the last, small batch is a step as well
    with pytest.raises(OptionError, match="multiple of the steps an epoch"):
        Settings(linear_batch=200).linear_epochs(45_000)


@pytest.mark.parametrize("wrong", [{"radii": ()}, {"radii": (4, 2)}, {"radii": (0, 2)}, {"inner_steps": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_an_unknown_network_is_refused():
    with pytest.raises(OptionError, match="resnet8"):
        Settings(model="resnet9")


# The recipes that come with the library


@pytest.mark.parametrize(
    ("recipe", "name"),
    [("cifar-10-svm", COURSE), ("cifar-10-resnet8", RESNET), ("cifar-10-resnet8-hardened", ROBUST)],
)
def test_shipped_recipes_are_those_of_the_table(recipe, name):
    planned = read_recipe(recipe_text(recipe), recipe)
    (row,) = (one for one in classifiers(Settings(), 45_000) if one.name == name)
    known, found = row.recipe.options, planned.recipe.options
    assert replace(planned.recipe, options=known) == row.recipe
    rounded = {"learning_rate": known.learning_rate, "weight_decay": known.weight_decay}
    assert replace(found, **rounded) == known
    assert (found.learning_rate, found.weight_decay) == pytest.approx(tuple(rounded.values()), rel=2e-3)
    assert planned.model.name == ("linear" if row.linear else Settings().model)
    assert planned.model.normalize == ("pixels" if row.linear else None)


# The table


def test_every_number_is_that_of_a_part(done):
    result, folder = done
    names = [one.name for one in result.table.rows]
    assert names == [AS_WRITTEN, SVM, COURSE, SOFTMAX, HARD_SVM, RESNET, ROBUST]
    for one in result.table.rows:
        deep = one.name in (RESNET, ROBUST)
        assert list(one.ours) == [CLEAN, *ATTACKED, JUDGE if deep else MOST]
    reproduce_pictures.check_numbers_are_those_of_parts(result)
    plain = json.loads((folder / "result.json").read_text())
    assert len(plain["orderings"]) == 12
    assert [one["row"] for one in plain["rows"]] == names


def test_published_errors_stand_where_the_source_has_them(done):
    """Under an attack of unknown radius: in a column of its own, in which nothing of ours stands."""
    published = {one.name: dict(one.published) for one in done[0].table.rows}
    assert published[SVM] == published[AS_WRITTEN] == {CLEAN: 0.625, UNKNOWN: 1.0}
    assert published[RESNET] == {CLEAN: 0.08, UNKNOWN: 0.7}
    assert published[ROBUST] == {CLEAN: None, UNKNOWN: 0.45}
    assert set(published[SOFTMAX].values()) == set(published[HARD_SVM].values()) == {None}
    assert all(UNKNOWN not in one.ours for one in done[0].table.rows)


def opened(folder, part, seed):
    model, card = models.load(folder / f"parts/svm-vs-resnet/{part}/seed-{seed}/model")
    return model, card, reproduce_pictures.given(None, "cifar-10", "test")


@pytest.mark.parametrize(("name", "part"), [(SVM, "svm"), (ROBUST, "resnet-adversarial")])
def test_the_attack_is_the_sources(done, name, part):
    """Steps of eps / T along the sign of the slope, from the picture itself; written out here a second time."""
    result, folder = done
    model, _, test = opened(folder, part, 1)
    right = [0] * 4
    for x, y in zip(test.x().split(20), test.labels.split(20)):
        for number, radius in enumerate((0, *TINY.radii)):
            eps, moved = radius / 255, x.clone()
            with torch.no_grad():
                held = model(moved).argmax(1) == y
            for _ in range(TINY.steps):
                moved.requires_grad_()
                (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(moved), y), moved)
                moved = (moved.detach() + eps / TINY.steps * slope.sign()).clamp(0, 1)
                with torch.no_grad():
                    held &= model(moved).argmax(1) == y
            right[number] += int(held.sum())
    found = [cell_of(result.table.rows, name, column).seeds[1] for column in (CLEAN, *ATTACKED)]
    # A picture on the verge may fall otherwise, as batches round otherwise.
    assert found == pytest.approx([1 - count / len(test) for count in right], abs=1.5 / len(test))
    assert found[0] < found[-1]


@pytest.mark.parametrize(("name", "part"), [(SVM, "svm"), (HARD_SVM, "svm-adversarial"), (SOFTMAX, "softmax")])
def test_the_largest_error_is_that_of_the_worst_corners(done, name, part):
    """Towards each class in turn, by eps against the signs of its difference of weights: bounds play no part here."""
    result, folder = done
    model, card, test = opened(folder, part, 0)
    assert card.mean == "pixels"
    weight = next(value for key, value in model.state_dict().items() if key.endswith("weight"))
    errors = {}
    for radius in (0.25, 1, 4):
        wrong = torch.zeros(len(test), dtype=torch.bool)
        for towards, label in product(range(10), range(10)):
            rows = (test.labels == label).nonzero().squeeze(1)
            move = radius / 255 * (weight[towards] - weight[label]).sign().view(1, *test.shape)
            with torch.no_grad():
                wrong[rows] |= model(test.x(rows) + move).argmax(1) != label
        errors[radius] = float(wrong.double().mean())
        assert largest_error(model, test, radius / 255) == pytest.approx(errors[radius])
    assert 0 < errors[0.25] < 1
    cells = {column: cell_of(result.table.rows, name, column).seeds[0] for column in (*ATTACKED, MOST)}
    assert cells[MOST] == pytest.approx(errors[4])
    assert cells[ATTACKED[0]] <= errors[1] + 1e-9
    assert cells[ATTACKED[-1]] <= cells[MOST] + 1e-9


def test_errors_of_a_network_are_those_of_its_saved_weights(done):
    result, folder = done
    model, _, test = opened(folder, "resnet", 1)
    with torch.no_grad():
        wrong = float((model(test.x()).argmax(1) != test.labels).double().mean())
    assert cell_of(result.table.rows, RESNET, CLEAN).seeds[1] == pytest.approx(wrong)
    summary = json.loads((folder / "parts/svm-vs-resnet/resnet/seed-1/judge/summary.json").read_text())
    assert [point["eps"] for point in summary["curve"]] == [pytest.approx(4 / 255)]


def test_the_page_has_the_bars_and_the_courses(done):
    result, folder = done
    titles = [plot.title for plot in result.table.plots]
    assert titles == [
        "Errors before and after the attack",
        "Errors after adversarial training",
        "Errors of the other linear classifiers",
        "Loss of the SVM",
        "Loss of the residual networks",
        "Validation accuracy of the residual networks",
    ]
    drawn = [plot.svg for plot in result.table.plots]
    assert [svg.count('class="fill"') for svg in drawn[:3]] == [2 * 4, 2 * 4, 3 * 4]  # clean and at three radii
    assert [svg.count("<polyline") for svg in drawn[3:]] == [4, 2, 2]  # of the machines, not of softmax regression
    assert "Auto-PGD's error less that of PGD" in (folder / "report.html").read_text().replace("&#39;", "'")


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("svm-vs-resnet", TINY, done[0])


# The orderings, of numbers like the source's

SOURCE = {
    SVM: (0.625, 0.95, 1.0, 1.0),
    HARD_SVM: (0.66, 0.95, 1.0, 1.0),
    RESNET: (0.075, 0.4, 0.6, 0.7),
    ROBUST: (0.12, 0.2, 0.3, 0.45),
}


def rows_of(numbers) -> list[Row]:
    columns = [CLEAN, *map(pgd, (2, 4, 8))]
    found = []
    for name, values in numbers.items():
        part = Part(name, 0, f"parts/{name}", dict(zip(columns, values)), 0.0, "", False)
        found.append(row(name, [part], columns))
    return found


def test_the_sources_own_numbers_hold():
    found = orderings(rows_of(SOURCE), Settings())
    assert [one.held for one in found] == [True] * 12
    assert not [one.sentence for one in found if "{" in one.sentence]


@pytest.mark.parametrize(
    ("changed", "refuted"),
    [
        ({RESNET: (0.7, 0.8, 0.9, 0.95)}, {0, 1, 10}),
        ({RESNET: (0.3, 0.4, 0.6, 0.7)}, {1, 10}),  # too small a lead, and less accurate than the robust one
        ({SVM: (0.625, 0.95, 0.97, 0.999)}, {2}),
        ({RESNET: (0.075, 0.4, 0.6, 1.0)}, {3, 6}),
        ({SVM: (0.625, 0.3, 1.0, 1.0)}, {4}),
        ({ROBUST: (0.12, 0.2, 0.3, 0.8)}, {9}),
        ({ROBUST: (0.05, 0.2, 0.3, 0.45)}, {10}),
        ({HARD_SVM: (0.66, 0.70, 1.0, 1.0)}, {11}),  # of use at one radius
    ],
)
def test_other_numbers_refute_what_they_should(changed, refuted):
    found = orderings(rows_of({**SOURCE, **changed}), Settings())
    assert {number for number, one in enumerate(found) if one.held is False} == refuted


# Real pictures


@pytest.mark.data
def test_on_real_pictures_the_machine_learns_by_the_equal_rate_alone(data_dir, tmp_path):
    linear = {"linear_pictures": 1000, "linear_batch": 50, "iterations": 40}
    few = Settings(pictures=64, epochs=1, batch=32, **linear, validation=50, steps=2, judge_steps=2, tests=200)
    done = reproduce(reproduce_pictures.small("svm-vs-resnet", few), out=tmp_path / "run", data_dir=data_dir)
    errors = {name: cell_of(done.table.rows, name, CLEAN).mean for name in (AS_WRITTEN, SVM)}
    assert errors[AS_WRITTEN] > 0.8  # one in ten is right by chance
    assert errors[SVM] < 0.8
    assert cell_of(done.table.rows, SVM, pgd(8)).mean > errors[SVM] + 0.1

"""`mixup-cutout`: one regulariser a row, the table on small pictures, and what it makes of given numbers."""

import json
from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import models
from holdfast.augment import Cutout, Mixup
from holdfast.errors import OptionError
from holdfast.reproduce import cell_of, reproduce, row
from holdfast.reproduce.mixup_cutout.figures import SHORT, averaged
from holdfast.reproduce.mixup_cutout.orderings import orderings
from holdfast.reproduce.mixup_cutout.settings import (
    ACCURACY,
    ALL,
    AUGMENT,
    BEST,
    CUTOUT,
    DECAY,
    DROPOUT,
    GAP,
    MIXUP,
    NLL,
    NONE,
    NORM,
    SMOOTH,
    STOP,
    TRAINING,
    USUAL,
    Settings,
    augmentations,
    variants,
)
from holdfast.reproduce.part import Part
from holdfast.train import CrossEntropy

TINY = Settings(pictures=100, epochs=4, batch=25, patience=1, pad=1, cutout=2)
ROWS = [NONE, DECAY, STOP, DROPOUT, NORM, AUGMENT, CUTOUT, MIXUP, USUAL, SMOOTH, ALL]
PLACES = {one.name: one.place for one in variants(TINY)}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixup") / "run"
    return reproduce_pictures.done_on_small_pictures("mixup-cutout", TINY, folder), folder


# The recipes


def test_each_row_has_one_regulariser_and_the_last_has_all():
    made = {one.name: (one.recipe, dict(one.model)) for one in variants(Settings())}
    assert list(made) == ROWS
    plain, options = made[NONE]
    assert (plain.options.weight_decay, plain.options.watch, plain.augment, plain.mixup) == (0, "none", (), None)
    assert (plain.loss, options) == (CrossEntropy(), {})
    decayed = replace(plain.options, weight_decay=0.01)
    stopped = {"watch": "validation", "patience": 5}
    changed = augmentations(Settings())
    assert made[DECAY] == (replace(plain, options=decayed), {})
    assert made[STOP] == (replace(plain, options=replace(plain.options, **stopped)), {})
    assert made[DROPOUT] == (plain, {"dropout": 0.5})
    assert made[NORM] == (plain, {"batch_norm": True})
    assert made[AUGMENT] == (replace(plain, augment=changed), {})
    assert made[CUTOUT] == (replace(plain, augment=(Cutout(side=8),)), {})
    assert made[MIXUP] == (replace(plain, mixup=Mixup(form="source")), {})
    assert made[USUAL] == (replace(plain, mixup=Mixup(form="usual")), {})
    assert made[SMOOTH] == (replace(plain, loss=CrossEntropy(smoothing=0.1)), {})
    everything = replace(
        plain, options=replace(decayed, **stopped), augment=(*changed, Cutout(side=8)), mixup=Mixup(form="source")
    )
    assert made[ALL] == (everything, {"dropout": 0.5, "batch_norm": True})


def test_batch_norm_is_off_but_where_it_is_named(done):
    result, folder = done
    for one in result.table.rows:
        weights, _ = models.load(folder / one.parts[0] / "model")
        normed = any(isinstance(module, torch.nn.BatchNorm2d) for module in weights.modules())
        assert normed == (one.name in (NORM, ALL))


@pytest.mark.parametrize("wrong", [{"smoothing": 1.0}, {"cutout": 0}, {"alpha": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_an_unknown_network_is_refused():
    with pytest.raises(OptionError, match="Did you mean 'cnn'"):
        Settings(model="cnnn")


# The table


def test_every_number_is_that_of_a_part(done):
    result, folder = done
    assert [one.name for one in result.table.rows] == ROWS
    for one in result.table.rows:
        assert list(one.ours) == [ACCURACY, NLL, TRAINING, GAP, BEST]
        assert not one.published
    reproduce_pictures.check_numbers_are_those_of_parts(result)
    assert len(json.loads((folder / "result.json").read_text())["orderings"]) == 13


@pytest.mark.parametrize("name", [NONE, STOP, USUAL, ALL])
def test_numbers_are_those_of_the_saved_weights(done, name):
    """Looked at as they are, in evaluation mode: the training pictures, neither changed nor mixed, and the others."""
    result, folder = done
    model, _ = models.load(folder / f"parts/{PLACES[name]}/seed-1/model")
    right = {}
    for split, limit in (("train", 100), ("test", None)):
        some = reproduce_pictures.given(None, "cifar-10", split, limit)
        with torch.no_grad():
            logs = model(some.x()).double().log_softmax(1)
        right[split] = float((logs.argmax(1) == some.labels).double().mean())
    loss = float(-logs[torch.arange(len(some)), some.labels].mean())
    found = {column: cell_of(result.table.rows, name, column).seeds[1] for column in (ACCURACY, NLL, TRAINING, GAP)}
    expected = {ACCURACY: right["test"], NLL: loss, TRAINING: right["train"], GAP: right["train"] - right["test"]}
    assert found == pytest.approx(expected, rel=1e-4)


def test_early_stopping_keeps_the_best_epoch(done):
    _, folder = done
    for name in ROWS:
        for seed in (0, 1):
            found = reproduce_pictures.found(folder, f"parts/{PLACES[name]}/seed-{seed}")
            course = found["curves"]["validation"]
            if name in (STOP, ALL):
                assert found[BEST] == 1 + course.index(max(course))
                assert len(course) in (TINY.epochs, found[BEST] + TINY.patience)
            else:
                assert found[BEST] == len(course) == TINY.epochs


def test_the_page_has_bars_and_courses(done):
    result, _ = done
    *drawn, courses, forms = (plot.svg for plot in result.table.plots)
    assert [svg.count('class="fill"') for svg in drawn] == [12, 12, 6, 6]
    told = " ".join(drawn)
    assert all(f">{SHORT[name]}<" in told for name in ROWS)
    for drawn in (courses, forms):
        assert drawn.count("<polyline") == 4
        assert drawn.count("stroke-dasharray") == 2


def test_courses_end_with_the_shortest():
    assert averaged([[0.2, 0.4, 0.9], [0.4, 0.6]]) == ((1, pytest.approx(0.3)), (2, pytest.approx(0.5)))


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("mixup-cutout", TINY, done[0])


# The orderings


def rows_of(changed):
    """Every regulariser better than none in every column, but for what is changed."""
    found = []
    for name in ROWS:
        values = {ACCURACY: 0.5, NLL: 2.0, TRAINING: 1.0, BEST: 40}
        if name != NONE:
            values = {ACCURACY: 0.6, NLL: 1.5, TRAINING: 0.9, BEST: 40}
        values |= changed.get(name, {})
        values[GAP] = values[TRAINING] - values[ACCURACY]
        part = Part(name, 0, f"parts/{name}", values, 0.0, "", False)
        found.append(row(name, [part], [ACCURACY, NLL, TRAINING, GAP, BEST]))
    return found


@pytest.mark.parametrize(
    ("changed", "refuted"),
    [
        ({}, set()),
        ({CUTOUT: {ACCURACY: 0.5}}, {0}),  # equal is no better
        ({AUGMENT: {ACCURACY: 0.49}}, {1}),
        ({MIXUP: {ACCURACY: 0.3}}, {2}),
        ({USUAL: {NLL: 2.1}}, {5}),
        ({NORM: {ACCURACY: 0.4}}, {6}),
        ({DECAY: {TRAINING: 1.0}}, {9}),
        ({ALL: {ACCURACY: 0.45, TRAINING: 0.8}}, {10}),
        ({NONE: {TRAINING: 0.85}}, {9, 12}),
    ],
)
def test_orders_are_judged_by_the_sources_sentences(changed, refuted):
    found = orderings(rows_of(changed))
    assert {number for number, one in enumerate(found) if not one.held} == refuted


# Real pictures


@pytest.mark.data
def test_on_real_pictures_none_overfits(data_dir, tmp_path):
    few = Settings(pictures=50, epochs=25, batch=10, validation=20, tests=200)
    done = reproduce(reproduce_pictures.small("mixup-cutout", few), out=tmp_path / "run", data_dir=data_dir)
    cells = {name: cell_of(done.table.rows, name, TRAINING).mean for name in (NONE, ALL)}
    assert cells[NONE] > 0.9 > cells[ALL]
    assert cell_of(done.table.rows, NONE, GAP).mean > 0.5

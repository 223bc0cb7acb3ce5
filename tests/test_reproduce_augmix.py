"""`augmix`: five remedies on small pictures, the look at corrupted ones, and what is made of given numbers."""

import json
from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import corrupt, models
from holdfast.augment import Crop, Mirror
from holdfast.errors import OptionError
from holdfast.models import Ensemble
from holdfast.reproduce import cell_of, reproduce, row, shifted
from holdfast.reproduce.augmix.orderings import orderings
from holdfast.reproduce.augmix.settings import (
    ANSWER,
    AUGMENTED,
    AUGMIX,
    BOTH,
    CLEAN,
    CORRUPTED,
    ECE_CLEAN,
    ECE_SHIFT,
    ENSEMBLE,
    HARDENED,
    PLAIN,
    READ,
    ROBUSTBENCH,
    VARIANTS,
    Settings,
    named,
    recipes,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.shifted import BACKWARD, FORWARD, SECONDS
from holdfast.train import Consistency
from holdfast.uncertainty import ece

TINY = Settings(
    options=(), pictures=60, tests=60, corruptions=("contrast", "shot-noise"), epochs=2, batch=20, pad=1, members=2
)
SETS = ("fashion-mnist", "cifar-10")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augmix") / "run"
    return reproduce_pictures.done_on_small_pictures("augmix", TINY, folder)


# What is asked for


def test_each_row_has_its_remedy():
    made = recipes(Settings())
    plain, changes = made[PLAIN], (Crop(pad=2), Mirror())
    assert (plain.augment, plain.penalties, plain.adversary) == ((), (), None)
    assert made[AUGMENTED] == replace(plain, augment=changes)
    assert made[AUGMIX] == replace(plain, penalties=(Consistency(weight=12),))
    assert made[BOTH] == replace(made[AUGMIX], augment=changes)
    adversary = made[HARDENED].adversary
    assert made[HARDENED] == replace(plain, adversary=adversary)
    assert (adversary.threat.eps, adversary.attack.steps) == (4 / 255, 3)


def test_the_mean_corruption_error_is_over_the_published_fifteen():
    assert len(Settings().corruptions) == 15
    assert not set(Settings().corruptions) & set(corrupt.EXTRA)
    assert set(Settings().corruptions) <= set(corrupt.fitting(1))


def test_published_figures_are_those_of_the_leaderboard():
    found = {
        name: {column: round(100 * value, 2) for column, value in one.items()} for name, one in ROBUSTBENCH.items()
    }
    assert found == {AUGMENTED: {CLEAN: 94.78, CORRUPTED: 26.54}, BOTH: {CLEAN: 95.08, CORRUPTED: 11.18}}


@pytest.mark.parametrize(
    "wrong",
    [{"members": 1}, {"sets": ()}, {"corruptions": ()}, {"corruptions": ("fog", "fog")}, {"consistency": -1.0}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_an_unknown_corruption_is_refused():
    with pytest.raises(OptionError, match="Did you mean 'fog'"):
        Settings(corruptions=("fogg",))


# The table


def test_every_number_is_that_of_a_part(done):
    assert [one.name for one in done.table.rows] == [named(data, name) for data in SETS for name in VARIANTS]
    for one in done.table.rows:
        variant = one.name.split(", ")[1]
        assert list(one.ours) == list(READ)
        for place, seed in zip(one.parts, (0, 1), strict=True):
            read = reproduce_pictures.found(done.folder, place)
            assert {c: cell.seeds[seed] for c, cell in one.ours.items()} == {c: read[f"{variant}, {c}"] for c in READ}
    published = [one.name for one in done.table.rows if one.published]
    assert published == [named("cifar-10", AUGMENTED), named("cifar-10", BOTH)]
    assert len(json.loads((done.folder / "result.json").read_text())["orderings"]) == 14


def loaded(done, place):
    return models.load(done.folder / f"parts/augmix/cifar-10/{place}/seed-1/model")[0].eval()


def test_numbers_by_hand_from_saved_weights(done):
    """Both corruptions at all severities, one picture after the other in one batch; the ensemble is of two members."""
    test = reproduce_pictures.given(None, "cifar-10", "test", 60)
    networks = {
        PLAIN: loaded(done, "plain"),
        ENSEMBLE: Ensemble([loaded(done, "plain"), loaded(done, "member-1")]),
    }
    for name, network in networks.items():
        right, errors = [], []
        for corruption in TINY.corruptions:
            for severity in range(1, 6):
                x = corrupt.corrupted(test.x(), corruption, severity, seed=0, place=test.place)
                with torch.no_grad():
                    logits = network(x)
                right.append(float((logits.argmax(1) == test.labels).double().mean()))
                errors.append(ece(logits, test.labels))
        with torch.no_grad():
            clean = network(test.x())
        found = {c: cell_of(done.table.rows, named("cifar-10", name), c).seeds[1] for c in READ[:4]}
        assert found == pytest.approx(
            {
                CLEAN: float((clean.argmax(1) == test.labels).double().mean()),
                CORRUPTED: 1 - sum(right) / 10,
                ECE_CLEAN: ece(clean, test.labels),
                ECE_SHIFT: sum(errors) / 10,
            },
            rel=1e-3,
        )


def test_costs_are_counted(done):
    """Epochs times passes: AugMix shows three pictures for one, the adversary takes a pass a step, members add up."""
    for data in SETS:
        taken = {
            name: [cell_of(done.table.rows, named(data, name), column).mean for column in (FORWARD, BACKWARD, ANSWER)]
            for name in VARIANTS
        }
        epochs = TINY.epochs
        assert taken[PLAIN] == taken[AUGMENTED] == [epochs, epochs, 1]
        assert taken[AUGMIX] == taken[BOTH] == [3 * epochs, 3 * epochs, 1]
        assert taken[HARDENED] == [4 * epochs, 4 * epochs, 1]
        assert taken[ENSEMBLE] == [2 * epochs, 2 * epochs, 2]
        seconds = {name: cell_of(done.table.rows, named(data, name), SECONDS).mean for name in VARIANTS}
        assert min(seconds.values()) > 0
        assert seconds[ENSEMBLE] > seconds[PLAIN]


def test_members_are_others_with_every_seed(done):
    weights = [
        models.load(done.folder / f"parts/augmix/cifar-10/{place}/seed-{seed}/model")[0].state_dict()
        for place in ("plain", "member-1")
        for seed in (0, 1)
    ]
    last = [list(one.values())[-1] for one in weights]
    assert len({tuple(one.tolist()) for one in last}) == 4


def test_the_page_has_courses_and_costs(done):
    drawn = [plot.svg for plot in done.table.plots]
    assert [svg.count("<polyline") for svg in drawn] == [6, 6, 0, 6, 6, 0]
    assert [svg.count('class="fill"') for svg in drawn] == [0, 0, 18, 0, 0, 18]


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("augmix", TINY, done)


# The look


def test_means_over_corruptions_at_a_severity_and_over_all():
    looked = {
        "clean": {"accuracy": 1.0},
        "corrupted": {"fog": {"accuracy": [0.9, 0.8, 0.7, 0.6, 0.5]}, "jpeg": {"accuracy": [0.7, 0.6, 0.5, 0.4, 0.3]}},
    }
    assert [shifted.at(looked, "accuracy", one) for one in (0, 1, 5)] == pytest.approx([1, 0.8, 0.4])
    assert shifted.under_shift(looked, "accuracy") == pytest.approx(0.6)
    assert shifted.each_at(looked, "accuracy", 2) == [0.8, 0.6]


# The orderings


def rows_of(changed):
    usual = dict.fromkeys((CORRUPTED, ECE_SHIFT), 0.3)
    found = []
    for name in VARIANTS:
        values = usual if name in (PLAIN, AUGMENTED, HARDENED) else dict.fromkeys(usual, 0.2)
        values = values | changed.get(name, {})
        found.append(row(named("cifar-10", name), [Part(name, 0, name, values, 0.0, "", False)], list(usual)))
    return found


@pytest.mark.parametrize(
    ("changed", "refuted"),
    [
        ({}, set()),
        ({PLAIN: {CORRUPTED: 0.2}}, {0, 5}),  # equal is no better
        ({AUGMENTED: {CORRUPTED: 0.1}}, {1}),
        ({AUGMIX: {ECE_SHIFT: 0.4}}, {2}),
        ({BOTH: {ECE_SHIFT: 0.4}}, {3}),
        ({HARDENED: {CORRUPTED: 0.1}}, {4}),
        ({ENSEMBLE: {ECE_SHIFT: 0.4}}, {6}),
    ],
)
def test_orders_are_judged_by_the_sources_sentences(changed, refuted):
    found = orderings(rows_of(changed), ["cifar-10"])
    assert len(found) == 7
    assert {number for number, one in enumerate(found) if not one.held} == refuted


# Real pictures


@pytest.mark.data
def test_on_real_pictures_corruptions_cost_accuracy(data_dir, tmp_path):
    few = replace(TINY, sets=("fashion-mnist",), pictures=1000, tests=200, epochs=3, batch=50)
    done = reproduce(reproduce_pictures.small("augmix", few), out=tmp_path / "run", data_dir=data_dir)
    for name in VARIANTS:
        clean, corrupted = (cell_of(done.table.rows, named("fashion-mnist", name), c).mean for c in (CLEAN, CORRUPTED))
        assert clean > 0.5
        assert corrupted > 1 - clean

"""`calibration`: six methods on three networks, the table on small pictures, and what it makes of given numbers."""

from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import models
from holdfast.augment import Crop, Mirror
from holdfast.errors import OptionError
from holdfast.reproduce import REPRODUCTIONS, cell_of, reproduce, row
from holdfast.reproduce.calibration.measuring import ECE, FEW, NLL, calibrated, key
from holdfast.reproduce.calibration.orderings import orderings
from holdfast.reproduce.calibration.settings import (
    BAYES,
    FASHION,
    FIGURES,
    HISTOGRAM,
    LENET,
    MATRIX,
    METHODS,
    RESNET,
    SOURCES,
    TEMPERATURE,
    UNCALIBRATED,
    VECTOR,
    Settings,
    few,
    networks_of,
)
from holdfast.reproduce.part import Part
from holdfast.uncertainty import Histogram, Temperature, ece

TINY = Settings(residual="cnn", pictures=100, few=20, epochs=3, batch=25)
ALL = [UNCALIBRATED, *METHODS]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration") / "run"
    return reproduce_pictures.done_on_small_pictures("calibration", TINY, folder)


# What is asked for


def test_the_sources_figures_stand_beside_its_own_rows():
    """Guo et al. 2017, table 1, in percent: LeNet-5 and ResNet-110 on CIFAR-10."""
    shown = {name: [round(100 * one, 2) for one in figures or ()] for name, figures in FIGURES.items()}
    assert shown == {
        LENET: [3.02, 1.56, 1.85, 1.59, 0.93, 1.15, 1.16],
        RESNET: [4.6, 0.58, 0.81, 0.54, 0.83, 0.88, 1.0],
        FASHION: [],
    }
    assert [METHODS[name].name for name in SOURCES] == [
        "histogram",
        "isotonic",
        "bbq",
        "temperature",
        "vector",
        "matrix",
    ]


def test_three_networks_and_only_colour_is_augmented():
    full = REPRODUCTIONS["calibration"].presets["full"]
    told = [(one.data, one.model, one.recipe.augment) for one in networks_of(full)]
    changed = (Crop(), Mirror())
    assert told == [("cifar-10", "cnn", changed), ("cifar-10", "resnet20", changed), ("fashion-mnist", "cnn", ())]
    assert all(one.recipe.augment == () for one in networks_of(Settings()))
    assert REPRODUCTIONS["calibration"].seeds == (0, 1, 2)


@pytest.mark.parametrize("wrong", [{"few": 0}, {"bins": 0}, {"few": 30, "fitted": 20}, {"epochs": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


# The table


def test_every_number_is_that_of_a_part(done):
    for one in done.table.rows:
        for place, seed in zip(one.parts, (0, 1), strict=True):
            read = reproduce_pictures.found(done.folder, place)
            assert {cell.seeds[seed] for cell in one.ours.values()} <= set(map(float, filter(_number, read.values())))
    assert len(done.table.rows) == 12
    assert [one.name for one in done.table.rows if one.published] == [LENET, RESNET]


def _number(value):
    return isinstance(value, int | float)


@pytest.mark.parametrize("name", [LENET, FASHION])
def test_numbers_are_those_of_saved_weights_fitted_on_validation(done, name):
    """By hand: temperature and histogram fitted on the validation pictures, judged on the test pictures."""
    one = next(one for one in networks_of(TINY) if one.name == name)
    model, _ = models.load(done.folder / f"parts/{one.place}/seed-1/model")
    some = {split: reproduce_pictures.given(None, one.data, split) for split in ("validation", "test")}
    with torch.no_grad():
        logits = {split: model.eval()(shown.x()) for split, shown in some.items()}
    held_out, labels = some["validation"], some["test"].labels
    assert cell_of(done.table.rows, name, UNCALIBRATED).seeds[1] == pytest.approx(ece(logits["test"], labels), rel=1e-3)
    for column, method in ((TEMPERATURE, Temperature()), (HISTOGRAM, Histogram())):
        for row_name, limit in ((name, None), (few(name), 20)):
            made = method.fit(logits["validation"][:limit], held_out.labels[:limit])
            expected = ece(made(logits["test"].double()), labels)
            assert cell_of(done.table.rows, row_name, column).seeds[1] == pytest.approx(expected, rel=1e-3)


def test_methods_are_judged_by_other_answers_than_they_are_fitted_on():
    """Answers to fit on that are much surer than right, answers to judge by that are always right."""
    drawn = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    wrong = 4 * torch.nn.functional.one_hot(labels.roll(1), 10) + torch.randn(200, 10, generator=drawn)
    right = 20 * torch.nn.functional.one_hot(labels, 10) + torch.randn(200, 10, generator=drawn)
    found = calibrated((wrong, labels), (right, labels), TINY)
    assert found[key(ECE, UNCALIBRATED)] < 0.001 < 0.1 < found[key(ECE, TEMPERATURE)]
    assert found[key(NLL, UNCALIBRATED)] < found[key(NLL, TEMPERATURE)]
    assert found[key("accuracy", TEMPERATURE)] == 1
    assert found[key(ECE, TEMPERATURE)] == pytest.approx(found[key(ECE, TEMPERATURE, FEW)], rel=0.5)
    assert sum(one["n"] for one in found["diagrams"][TEMPERATURE]) == 200


def test_temperature_changes_no_answer(done):
    for one in networks_of(TINY):
        cells = {name: cell_of(done.table.rows, f"{one.name}, accuracy", key("accuracy", name)) for name in ALL}
        assert cells[TEMPERATURE].seeds == cells[UNCALIBRATED].seeds


def test_the_page_has_bars_and_diagrams(done):
    *drawn, before, after = (plot.svg for plot in done.table.plots)
    assert [svg.count('class="fill"') for svg in drawn] == [16, 16, 16]
    assert before != after


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("calibration", TINY, done)


# The orderings


def rows_of(changed):
    """Errors as the sentences have them, but for what is changed: (row, column) -> error."""
    usual = dict.fromkeys((*SOURCES, UNCALIBRATED), 0.02) | {UNCALIBRATED: 0.1, TEMPERATURE: 0.015, VECTOR: 0.016}
    found = []
    for name in (LENET, RESNET, FASHION):
        for one in (name, few(name)):
            values = usual | ({MATRIX: 0.05} if one == few(name) else {})
            values |= {column: value for (where, column), value in changed.items() if where == one}
            found.append(row(one, [Part(one, 0, f"parts/{one}", values, 0.0, "", False)], list(usual)))
    return found


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({}, {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12}),
        ({(LENET, MATRIX): 0.1}, {1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12}),  # equal is no better
        ({(FASHION, HISTOGRAM): 0.014}, {0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12}),
        ({(RESNET, HISTOGRAM): 0.01}, {0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12}),
        ({(RESNET, HISTOGRAM): 0.01, (RESNET, BAYES): 0.01}, {0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12}),
        ({(LENET, VECTOR): 0.021}, {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12}),
        ({(LENET, VECTOR): 0.009}, {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12}),
        ({(few(FASHION), MATRIX): 0.01}, {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11}),
    ],
)
def test_orders_are_judged_by_the_sources_sentences(changed, held):
    found = orderings(rows_of(changed))
    assert len(found) == 13
    assert {number for number, one in enumerate(found) if one.held} == held
    assert all(one.seeds == {0: one.held} for one in found)


# Real pictures


@pytest.mark.data
def test_on_real_pictures_training_long_makes_too_sure(data_dir, tmp_path):
    few_pictures = replace(TINY, pictures=300, fitted=1000, tests=1000, epochs=15, few=100)
    done = reproduce(reproduce_pictures.small("calibration", few_pictures), out=tmp_path / "run", data_dir=data_dir)
    for name in (LENET, RESNET):
        before = cell_of(done.table.rows, name, UNCALIBRATED).mean
        assert before > 0.1 > cell_of(done.table.rows, name, TEMPERATURE).mean

"""`shift`: four methods over severities on small pictures, and what is made of given numbers."""

from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import corrupt, models
from holdfast.errors import OptionError
from holdfast.models import Ensemble, MonteCarloDropout
from holdfast.reproduce import below, cell_of, reproduce, row
from holdfast.reproduce.part import Part
from holdfast.reproduce.shift.orderings import orderings
from holdfast.reproduce.shift.settings import (
    CLEAN,
    COLUMNS,
    DROPOUT,
    ENSEMBLE,
    METHODS,
    SHIFTED,
    SINGLE,
    TEMPERATURE,
    WORST,
    Settings,
    named,
    published,
)
from holdfast.reproduce.shifted import ACCURACY, ECE
from holdfast.uncertainty import Temperature, ece

TINY = Settings(
    options=(), pictures=60, tests=60, corruptions=("contrast", "fog"), epochs=2, batch=20, passes=3, members=2
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shift") / "run"
    return reproduce_pictures.done_on_small_pictures("shift", TINY, folder)


@pytest.mark.parametrize("wrong", [{"members": 1}, {"passes": 1}, {"dropout": 0.0}, {"corruptions": ()}, {"epochs": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_figures_beside_are_those_of_uncertainty_baselines():
    assert published(ACCURACY, ENSEMBLE) == {CLEAN: 0.966, SHIFTED: 0.779}
    assert published(ECE, SINGLE) == {CLEAN: 0.0231, SHIFTED: 0.153}
    assert published(ECE, DROPOUT) == {CLEAN: 0.019, SHIFTED: 0.167}
    assert published(ECE, TEMPERATURE) == {}


# The table


def test_every_number_is_that_of_a_part(done):
    assert [one.name for one in done.table.rows] == [named(what, one) for what in (ACCURACY, ECE) for one in METHODS]
    for one in done.table.rows:
        for place, seed in zip(one.parts, (0, 1), strict=True):
            read = reproduce_pictures.found(done.folder, place)
            assert {c: cell.seeds[seed] for c, cell in one.ours.items()} == {
                c: read[f"{one.name}, {c}"] for c in COLUMNS
            }


def loaded(done, place):
    return models.load(done.folder / f"parts/shift/{place}/seed-1/model")[0].eval()


def test_numbers_by_hand_from_saved_weights(done):
    """At severities 0 and 3: the temperature is fitted on clean validation pictures, masks are those of the seed."""
    test, clean = (
        reproduce_pictures.given(None, "cifar-10", split, limit)
        for split, limit in (("test", 60), ("validation", None))
    )
    single, other = loaded(done, "single"), loaded(done, "member-1")
    with torch.no_grad():
        temper = Temperature().fit(single(clean.x()), clean.labels)
        ways = {
            SINGLE: single,
            TEMPERATURE: lambda x: temper(single(x)),
            DROPOUT: MonteCarloDropout(loaded(done, "dropout"), 3, seed=1).eval(),
            ENSEMBLE: Ensemble([single, other]),
        }
        for method, way in ways.items():
            for column, severity in ((CLEAN, 0), ("severity 3", 3)):
                shown = [
                    corrupt.corrupted(test.x(), name, severity, seed=0, place=test.place) if severity else test.x()
                    for name in TINY.corruptions
                ]
                answers = [way(x) for x in shown]
                right = sum(float((one.argmax(1) == test.labels).double().mean()) for one in answers) / 2
                error = sum(ece(one, test.labels) for one in answers) / 2
                for what, expected in ((ACCURACY, right), (ECE, error)):
                    found = cell_of(done.table.rows, named(what, method), column).seeds[1]
                    assert found == pytest.approx(expected, rel=1e-3), (method, column, what)


def test_temperature_changes_no_answer(done):
    cells = [
        [cell_of(done.table.rows, named(ACCURACY, one), c).seeds for c in COLUMNS] for one in (SINGLE, TEMPERATURE)
    ]
    assert cells[0] == cells[1]


def test_the_page_has_the_two_plots(done):
    assert [plot.svg.count("<polyline") for plot in done.table.plots] == [4, 4]


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("shift", TINY, done)


# The orderings


def rows_of(changed):
    """As the sentences have it, but for what is changed: (row, column) -> number."""
    found = []
    for what in (ACCURACY, ECE):
        for method in METHODS:
            best = method == ENSEMBLE
            course = [0.9 - 0.1 * at + 0.01 * best for at in range(6)]
            if what == ECE:
                course = [0.05 + 0.05 * at - 0.02 * best for at in range(6)]
            if (what, method) == (ECE, TEMPERATURE):
                course = [0.01, 0.08, 0.13, 0.18, 0.23, 0.28]
            values = dict(zip(COLUMNS, [*course, 0.5], strict=True))
            name = named(what, method)
            values |= {column: value for (where, column), value in changed.items() if where == name}
            found.append(row(name, [Part(name, 0, name, values, 0.0, "", False)], list(COLUMNS)))
    return found


@pytest.mark.parametrize(
    ("changed", "refuted"),
    [
        ({}, set()),
        ({(named(ACCURACY, SINGLE), "severity 2"): 0.85}, {0}),
        ({(named(ECE, SINGLE), "severity 2"): 0.1}, {1}),  # equal is no larger
        ({(named(ACCURACY, DROPOUT), WORST): 0.6}, {2}),
        ({(named(ECE, DROPOUT), WORST): 0.1}, {3}),
        ({(named(ECE, TEMPERATURE), CLEAN): 0.06}, {4, 5, 7}),
        ({(named(ECE, TEMPERATURE), WORST): 0.02}, {3, 6, 7}),
    ],
)
def test_orders_are_judged_by_the_sources_sentences(changed, refuted):
    found = orderings(rows_of(changed))
    assert len(found) == 8
    assert {number for number, one in enumerate(found) if not one.held} == refuted


def test_what_temperature_leaves_of_nothing_is_not_measured():
    assert orderings(rows_of({(named(ECE, SINGLE), CLEAN): 0.0}))[7].held is None


def test_below_is_not_measured_where_a_cell_is_missing():
    rows = [row("a", [Part("a", 0, "a", {"x": 1.0}, 0.0, "", False)], ["x"])]
    found = below("a is below itself in y.", rows, [("a", "x")], [("a", "y")])
    assert (found.held, found.numbers) == (None, {"a, x": 1.0, "a, y": None})


# Real pictures


@pytest.mark.data
def test_on_real_pictures_accuracy_drops(data_dir, tmp_path):
    few = replace(TINY, data="fashion-mnist", pictures=1000, validation=200, tests=200, epochs=3, batch=50)
    done = reproduce(reproduce_pictures.small("shift", few), out=tmp_path / "run", data_dir=data_dir)
    accuracy = named(ACCURACY, SINGLE)
    assert cell_of(done.table.rows, accuracy, CLEAN).mean > 0.1 + cell_of(done.table.rows, accuracy, WORST).mean
    assert not any(one.published for one in done.table.rows)

"""`gradient-detector`: its table on small pictures, numbers by hand, and what is made of given numbers."""

from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import models
from holdfast.attacks import PGD, Bisect, run
from holdfast.errors import DataError, OptionError
from holdfast.evaluate.judge import Found
from holdfast.reproduce import cell_of, reproduce, row
from holdfast.reproduce.gradient_detector import FULL
from holdfast.reproduce.gradient_detector.measuring import NORMS, NORMS_ALL_STEPS, aware, unaware
from holdfast.reproduce.gradient_detector.orderings import orderings
from holdfast.reproduce.gradient_detector.settings import (
    ACCURACY,
    ALL_STEPS,
    BOUNDARY,
    CARLINI,
    CLEAN,
    DIFFERENCES,
    EVASIVE,
    FLAGGED,
    FOUND,
    LEAST_PGD,
    NORM,
    PUBLISHED,
    SIZE,
    Settings,
    named,
)
from holdfast.reproduce.part import Part
from holdfast.threats import L2

TINY = Settings(
    colour="cnn",
    pictures=None,
    epochs=3,
    batch=20,
    clean=80,
    attacked=12,
    colour_eps=2.0,
    steps=4,
    searches=5,
    queries=60,
    cw_steps=15,
    cw_searches=4,
    evasive_steps=15,
    evasive_searches=5,
)
COLOUR, FASHION, GREY = TINY.grounds()
ROWS = [CLEAN, LEAST_PGD, BOUNDARY, CARLINI, EVASIVE, DIFFERENCES]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradient") / "run"
    return reproduce_pictures.done_on_small_pictures("gradient-detector", TINY, folder)


@pytest.mark.parametrize(
    "wrong",
    [{"attacked": 0}, {"attacked": 2000}, {"epochs": 0}, {"grey_eps": -1}, {"steps": 0}, {"evasive_searches": 0}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_the_sources_figures_stand_beside(done):
    shown = {one.name: dict(one.published) for one in done.table.rows}
    assert list(shown) == [named(on, name) for on in (COLOUR, FASHION, GREY) for name in ROWS]
    assert {name: shown[named(COLOUR, name)] for name in ROWS} == {name: PUBLISHED.get(name, {}) for name in ROWS}
    assert not any(shown[named(on, name)] for name in ROWS for on in (FASHION, GREY))
    assert shown[named(COLOUR, EVASIVE)] == {FLAGGED: 0.22, SIZE: 0.81}
    assert DIFFERENCES not in PUBLISHED  # the source does not say how it takes the slope


def test_every_number_is_that_of_a_part(done):
    reproduce_pictures.check_numbers_are_those_of_parts(done)
    columns = {one.name: list(one.ours) for one in done.table.rows}
    for on in (COLOUR, FASHION, GREY):
        assert columns[named(on, CLEAN)] == [ACCURACY, FLAGGED, NORM]
        assert columns[named(on, LEAST_PGD)] == [FLAGGED, ALL_STEPS, SIZE, FOUND, NORM]
        for name in (BOUNDARY, CARLINI, EVASIVE, DIFFERENCES):
            assert columns[named(on, name)] == [FLAGGED, SIZE, FOUND, NORM]


def norms(model, x):
    """The norm of the gradient of the loss at the predicted label."""
    x = x.clone().requires_grad_()
    logits = model(x)
    (slope,) = torch.autograd.grad((logits.logsumexp(1) - logits.amax(1)).sum(), x)
    return slope.flatten(1).norm(dim=1)


def test_clean_pictures_by_hand(done):
    """Three of sixty held-out pictures are at the threshold or above: floor(0.05 * 61), the third largest."""
    model, _ = models.load(done.folder / f"parts/{COLOUR.place(CLEAN)}/seed-1/model")
    held_out, test = (reproduce_pictures.given(None, "cifar-10", split) for split in ("validation", "test"))
    limit = norms(model.eval(), held_out.x()).sort(descending=True).values[2]
    found = norms(model, test.x(slice(0, 80)))
    read = reproduce_pictures.found(done.folder, f"parts/{COLOUR.place(CLEAN)}/seed-1")
    assert read["threshold"] == pytest.approx(float(limit.log()), rel=1e-4)
    assert read[FLAGGED] == pytest.approx(float((found > limit).double().mean()), abs=1.01 / 80)
    assert read[NORM] == pytest.approx(float(found.double().quantile(0.5)), rel=1e-3)
    assert len(read[NORMS]) == 80


def test_pgd_goes_on_to_the_highest_loss(done):
    """What all its steps leave is done again here; what looks for the smallest radius ends nearer."""
    folder = done.folder / f"parts/{COLOUR.place(CLEAN)}/seed-0/model"
    model, _ = models.load(folder)
    test = reproduce_pictures.given(None, "cifar-10", "test", 12)
    right = (model.eval()(test.x()).argmax(1) == test.labels).nonzero().flatten()
    options = {"seed": 0, "picture": test.place[right], "aim": "highest_loss"}
    whole = run(PGD(steps=4), model, test.x(right), test.labels[right], L2(eps=2.0), **options)
    read = reproduce_pictures.found(done.folder, f"parts/{COLOUR.place(LEAST_PGD)}/seed-0")
    expected = norms(model, whole.x_adv[whole.success]).log()
    assert read[NORMS_ALL_STEPS] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-3)
    assert read[SIZE] < float(whole.size[whole.success].quantile(0.5))


def test_who_is_aware_of_it_stays_under_the_threshold(done):
    limit = reproduce_pictures.found(done.folder, f"parts/{COLOUR.place(CLEAN)}/seed-0")["threshold"]
    for name in (EVASIVE, DIFFERENCES):
        read = reproduce_pictures.found(done.folder, f"parts/{COLOUR.place(name)}/seed-0")
        assert read[FOUND] == pytest.approx(1 - read[FLAGGED])
        assert read[NORMS]
        assert max(read[NORMS]) <= limit + 1e-4
    begun = [
        (done.folder / f"parts/{COLOUR.place(name)}/seed-0/begun.json").read_text() for name in (EVASIVE, DIFFERENCES)
    ]
    assert '"double-backward"' in begun[0]
    assert '"differences"' in begun[1]


def test_the_page_has_both_histograms(done):
    first, second, *_ = done.table.plots
    assert len(done.table.plots) == 6
    assert [name for name, _ in first.legend] == [CLEAN, LEAST_PGD, BOUNDARY, CARLINI]
    assert [name for name, _ in second.legend] == [CLEAN, "PGD, all steps", EVASIVE, DIFFERENCES]


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("gradient-detector", TINY, done)


# What is made of given pictures


def of(success, suspicion, size):
    n = len(success)
    return Found(
        torch.zeros(n, 1, 2, 2),
        torch.tensor(success),
        torch.tensor(size, dtype=torch.float64),
        torch.tensor(suspicion),
        torch.zeros(n, dtype=torch.int64),
    )


def test_shares_are_of_what_was_found():
    """What was not broken counts for who knows the detector, and not for who does not."""
    found = of([True, True, True, False], [1.0, 3.0, 5.0, 9.0], [0.1, 0.2, 0.4, 7.0])
    assert unaware(found, 2.0, "row")[FLAGGED] == pytest.approx(2 / 3)
    assert aware(found)[FLAGGED] == 0.25
    for read in (unaware(found, 2.0, "row"), aware(found)):
        assert (read[FOUND], read[SIZE], read[NORMS]) == (0.75, pytest.approx(0.2), [1.0, 3.0, 5.0])
        assert read[NORM] == pytest.approx(torch.tensor(3.0).exp().item())


def test_nothing_found_is_told_or_is_all_flagged():
    found = of([False, False], [1.0, 2.0], [0.1, 0.2])
    assert aware(found) == {FLAGGED: 1.0, FOUND: 0.0, NORMS: []}
    with pytest.raises(DataError, match="row: no adversarial picture was found for 2 pictures"):
        unaware(found, 0.0, "row")


def test_who_is_never_let_through_has_no_median(tmp_path, monkeypatch):
    from holdfast.reproduce.gradient_detector import measuring

    monkeypatch.setattr(Settings, "grounds", lambda self: (COLOUR,))
    monkeypatch.setattr(measuring, "aware", lambda found: aware(of([False], [0.0], [0.0])))
    done = reproduce_pictures.done_on_small_pictures("gradient-detector", replace(TINY, epochs=2), tmp_path / "run")
    assert list(next(one for one in done.table.rows if one.name == named(COLOUR, EVASIVE)).ours) == [FLAGGED, FOUND]
    assert [one.held for one in done.table.orderings[-4:]] == [False, False, None, None]
    assert [name for name, _ in done.table.plots[1].legend] == [CLEAN, "PGD, all steps"]


def test_the_full_preset_attacks_harder():
    small, full = Settings().unaware(), FULL.unaware()
    assert small[LEAST_PGD] == Bisect(attack=PGD(steps=20, random_start=False), searches=10)
    assert full[LEAST_PGD].attack == PGD(random_start=False)
    assert FULL.pictures is FULL.clean is FULL.held_out is None


# The orderings, of numbers like the source's

SOURCE = {
    CLEAN: {FLAGGED: 0.06, NORM: 0.1},
    LEAST_PGD: {FLAGGED: 0.96, SIZE: 0.31, NORM: 10.0},
    BOUNDARY: {FLAGGED: 1.0, SIZE: 0.36, NORM: 10.0},
    CARLINI: {FLAGGED: 1.0, SIZE: 0.34, NORM: 10.0},
    EVASIVE: {FLAGGED: 0.22, SIZE: 0.81, NORM: 0.1},
    DIFFERENCES: {FLAGGED: 0.22, SIZE: 0.81, NORM: 0.1},
}


@pytest.mark.parametrize(
    ("name", "changed", "refuted"),
    [
        (CLEAN, {}, set()),
        (LEAST_PGD, {FLAGGED: 0.9}, set()),  # at least
        (LEAST_PGD, {FLAGGED: 0.89}, {3}),
        (CARLINI, {FLAGGED: 0.89}, {5}),
        (BOUNDARY, {NORM: 0.1}, {1}),
        (EVASIVE, {FLAGGED: 0.5}, {6}),  # fewer than half
        (DIFFERENCES, {FLAGGED: 0.7, SIZE: 0.34}, {7, 9}),
        (CARLINI, {SIZE: 0.9}, {8, 9}),
    ],
)
def test_the_sources_sentences(name, changed, refuted):
    numbers = {**SOURCE, name: {**SOURCE[name], **changed}}
    rows = [
        row(named(GREY, key), [Part(key, 0, key, values, 0.0, "", False)], list(values))
        for key, values in numbers.items()
    ]
    found = orderings(rows, [GREY])
    assert len(found) == 10
    assert {number for number, one in enumerate(found) if not one.held} == refuted
    assert not [one.sentence for one in found if "{" in one.sentence]


# Real pictures


@pytest.mark.data
def test_on_digits_the_smallest_changes_are_flagged_until_the_attacker_knows(data_dir, tmp_path, monkeypatch):
    few = replace(TINY, pictures=3000, epochs=4, batch=50, held_out=300, clean=300, attacked=20, steps=20, searches=10)
    few = replace(few, cw_searches=6, evasive_steps=30)
    monkeypatch.setattr(Settings, "grounds", lambda self: (GREY,))
    done = reproduce(reproduce_pictures.small("gradient-detector", few), out=tmp_path / "run", data_dir=data_dir)
    flagged = {name: cell_of(done.table.rows, named(GREY, name), FLAGGED).mean for name in ROWS}
    assert flagged[CLEAN] < 0.2
    assert min(flagged[LEAST_PGD], flagged[CARLINI]) >= 0.8
    assert flagged[EVASIVE] < 0.5

"""`ood`: nine scores on small pictures, sets that are not there, and what is made of given numbers."""

from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import data, models
from holdfast.data import adapted
from holdfast.data.selection import selected, split_name
from holdfast.errors import OptionError
from holdfast.reproduce import cell_of, networks, reproduce, row
from holdfast.reproduce.ood.measuring import named
from holdfast.reproduce.ood.orderings import orderings
from holdfast.reproduce.ood.settings import (
    ACCURACY,
    AUPR,
    AUROC,
    FAR,
    FPR,
    NEAR,
    OPENOOD,
    SCORES,
    SVHN,
    Settings,
    networks_of,
    pairs_of,
)
from holdfast.reproduce.part import Part

TINY = Settings(colour="cnn", pictures=120, tests=40, epochs=2, batch=20)
PAIRS = {pair.outside: pair.name for pair in reversed(pairs_of(TINY))}  # of Fashion-MNIST that of CIFAR-10
OPEN, GREY = PAIRS["cifar-10:only=5,9"], "MNIST against Fashion-MNIST"


def given(bench, name, split, limit=None):
    own, choice = split_name(name)
    return selected(reproduce_pictures.given(bench, own, split), choice, limit)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Without SVHN."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "pictures", given)
        patch.setattr(data, "find", lambda name, folder: None)
        folder = tmp_path_factory.mktemp("ood") / "run"
        return reproduce(reproduce_pictures.small("ood", TINY), out=folder, seeds=(0, 1))


@pytest.mark.parametrize("wrong", [{"held_out": ()}, {"held_out": (1, 1)}, {"held_out": (10,)}, {"epochs": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_figures_beside_are_those_of_openood():
    shown = {name: (round(100 * near, 2), round(100 * far, 2)) for name, (near, far) in OPENOOD.items()}
    assert shown["max-probability"] == (88.03, 90.73)
    assert shown["nearest"] == (90.64, 92.96)
    assert shown["vim"] == (88.68, 93.48)
    assert set(shown) == {score.name for score in SCORES} - {"entropy"}


def test_what_is_not_there_is_not_measured(done):
    rows = {one.name: one for one in done.table.rows}
    for score in SCORES:
        missing = rows[named(PAIRS[SVHN], score.name)]
        assert (missing.ours, missing.parts) == ({}, ())
        assert missing.published.get(FAR) == (OPENOOD[score.name][1] if score.name in OPENOOD else None)
        near = rows[named(OPEN, score.name)]
        assert list(near.ours) == [AUROC, FPR, AUPR]
        assert near.published.get(NEAR) == (OPENOOD[score.name][0] if score.name in OPENOOD else None)
    assert sum(one.held is None for one in done.table.orderings) == 3
    assert any("SVHN was not" in note for note in done.table.notes)


def test_svhn_is_measured_where_it_is_there(tmp_path, monkeypatch):
    def foreign(bench, name, split, limit=None):
        return given(bench, "fashion-mnist" if name == SVHN else name, split, limit)

    monkeypatch.setattr(networks, "pictures", foreign)
    monkeypatch.setattr(data, "find", lambda name, folder: tmp_path)
    done = reproduce(reproduce_pictures.small("ood", replace(TINY, epochs=1)), out=tmp_path / "run")
    assert all(one.held is not None for one in done.table.orderings)
    assert not any("SVHN was not" in note for note in done.table.notes)


def test_every_number_is_that_of_a_part(done):
    assert len(done.table.rows) == 5 * 9 + 3
    for one in done.table.rows:
        for place, seed in zip(one.parts, (0, 1), strict=bool(one.parts)):
            read = reproduce_pictures.found(done.folder, place)
            keys = {column: column if column == ACCURACY else f"{one.name}, {column}" for column in one.ours}
            assert {c: cell.seeds[seed] for c, cell in one.ours.items()} == {c: read[k] for c, k in keys.items()}


@pytest.mark.parametrize(("pair", "place"), [(OPEN, "cifar-10-open"), (GREY, "mnist")])
def test_maximum_probability_by_hand_from_saved_weights(done, pair, place):
    """Suspicion is 1 less the largest probability; unfamiliar pictures come in the network's shape."""
    own = next(one for one in networks_of(TINY) if one.place == f"ood/{place}")
    outside = next(one.outside for one in pairs_of(TINY) if one.name == pair)
    model, _ = models.load(done.folder / f"parts/ood/{place}/seed-1/model")
    inside = given(None, own.data, "test", 40)
    foreign = adapted(given(None, outside, "test", 40), inside.shape)
    with torch.no_grad():
        within, beyond = [1 - model.eval()(some.x()).double().softmax(1).amax(1) for some in (inside, foreign)]
    found = {
        column: cell_of(done.table.rows, named(pair, "max-probability"), column).seeds[1] for column in (AUROC, FPR)
    }
    apart = beyond[:, None] - within[None]
    passes = within.sort().values[-(-95 * len(within) // 100) - 1]
    expected = {
        AUROC: float(((apart > 0).double() + (apart == 0) / 2).mean()),
        FPR: float((beyond <= passes).double().mean()),
    }
    assert found == pytest.approx(expected, abs=0.02)


def test_held_out_classes_are_never_learnt(done):
    _, card = models.load(done.folder / "parts/ood/cifar-10-open/seed-0/model")
    assert card.classes == tuple("abcdeghi")


def test_the_page_has_bars_of_what_is_there(done):
    assert [plot.svg.count('class="fill"') for plot in done.table.plots] == [9] * 4


# The orderings


def rows_of(changed):
    usual = {"nearest": 0.9, "vim": 0.91, "gen": 0.89, "max-probability": 0.88, "energy": 0.87, "react": 0.86}
    found = []
    for one in pairs_of(TINY):
        outside, pair = one.outside, one.name
        for score in SCORES:
            value = usual.get(score.name, 0.85) + (0.0 if pair == OPEN else 0.05)
            name = named(pair, score.name)
            values = {AUROC: changed.get((outside, score.name), value)}
            found.append(row(name, [Part(name, 0, name, values, 0.0, "", False)], [AUROC]))
    return found


NEAR_SET = "cifar-10:only=5,9"


@pytest.mark.parametrize(
    ("changed", "refuted"),
    [
        ({}, set()),
        ({(SVHN, "max-probability"): 0.88}, {1}),  # equal is no harder
        ({("mnist", "nearest"): 0.9}, {4, 8}),
        ({(SVHN, "vim"): 0.5}, {7}),
        ({(NEAR_SET, "gen"): 0.8}, {10}),
        ({(NEAR_SET, "react"): 0.885}, {11}),
    ],
)
def test_orders_are_judged_by_the_sources_figures(changed, refuted):
    found = orderings(rows_of(changed), pairs_of(TINY))
    assert len(found) == 12
    assert {number for number, one in enumerate(found) if not one.held} == refuted


def test_a_score_no_better_than_chance_is_told():
    """Two pairs have Fashion-MNIST as unfamiliar, of which one is MNIST's."""
    rows = [
        replace(one, ours={AUROC: replace(one.ours[AUROC], seeds={0: 0.5})}) if one.name == named(GREY, "vim") else one
        for one in rows_of({})
    ]
    assert orderings(rows, pairs_of(TINY))[0].held is False


# Real pictures


@pytest.mark.data
def test_on_real_pictures_clothes_are_no_digits(data_dir, tmp_path):
    """By the features of a network that has hardly learnt, whose confidence tells little yet."""
    few = replace(TINY, pictures=1000, tests=200, epochs=3, batch=50)
    done = reproduce(reproduce_pictures.small("ood", few), out=tmp_path / "run", data_dir=data_dir)
    assert cell_of(done.table.rows, named(GREY, "vim"), AUROC).mean > 0.8

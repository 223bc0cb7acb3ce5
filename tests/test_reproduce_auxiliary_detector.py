"""`auxiliary-detector`: four detectors on two small sets, numbers by hand, and what is made of given numbers."""

from dataclasses import replace

import pytest
import torch

import reproduce_pictures
from holdfast import detect, models
from holdfast.attacks import PGD, EvasiveCW, OrthogonalPGD
from holdfast.detect import Auxiliary
from holdfast.errors import OptionError
from holdfast.evaluate.judge import Found
from holdfast.reproduce import cell_of, networks, reproduce, row
from holdfast.reproduce.auxiliary_detector import FULL
from holdfast.reproduce.auxiliary_detector.measuring import MADE, both, key, share
from holdfast.reproduce.auxiliary_detector.orderings import orderings
from holdfast.reproduce.auxiliary_detector.settings import (
    ACCURACY,
    ALARMS,
    ALL_STEPS,
    ATTACKS,
    AUROC,
    AWARE,
    AWARE_SIZE,
    CARLINI,
    COST,
    DEEP,
    DETECTED,
    FAST,
    FIRST,
    KINDS,
    PAIRS,
    SIZE,
    Kind,
    Settings,
    named,
)
from holdfast.reproduce.part import Part

TINY = Settings(
    colour="cnn",
    pictures=None,
    epochs=3,
    batch=20,
    fitted_on=60,
    detector_epochs=2,
    clean=60,
    attacked=12,
    colour_eps=0.1,
    learning_steps=3,
    steps=5,
    cw_steps=10,
    cw_searches=3,
)
GREY, COLOUR = TINY.grounds()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("auxiliary") / "run"
    return reproduce_pictures.done_on_small_pictures("auxiliary-detector", TINY, folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attacked": 0},
        {"attacked": 2000},
        {"epochs": 0},
        {"colour_eps": 0},
        {"detector_epochs": 0},
        {"cw_searches": 0},
        {"channels": 0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**wrong)


def test_an_unknown_network_is_refused():
    with pytest.raises(OptionError, match="resnet8"):
        Settings(colour="resnet9")
    with pytest.raises(OptionError, match="unknown model 'cmm'"):
        Settings(network="cmm")


def test_all_four_detectors_learn_from_the_same_attack():
    made = {kind: Settings().detector(kind, 0.1) for kind in KINDS}
    assert {(one.form, one.training) for one in made.values()} == {
        (form, training) for form in ("separate", "branched") for training in ("static", "dynamic")
    }
    assert all(one.attacker(1) == made[KINDS[0]].attacker(1) for one in made.values())
    assert made[KINDS[0]].attacker(1).attack == PGD(steps=10, step_size=0.25)
    assert FULL.attacks()[FIRST] == PGD(steps=100)
    other = Settings(network="mlp", channels=8)
    assert {(one.network, one.channels) for one in (other.detector(kind, 0.1) for kind in KINDS)} == {
        ("mlp", None),
        (None, 8),
    }


def place(on, kind, seed):
    return f"parts/{on.place}/{kind.form}-{kind.training}/seed-{seed}"


def test_every_number_is_that_of_a_part(done):
    for on in (GREY, COLOUR):
        for kind, seed in [(kind, seed) for kind in KINDS for seed in (0, 1)]:
            read = reproduce_pictures.found(done.folder, place(on, kind, seed))
            cells = {
                name: cell_of(done.table.rows, named(on, kind), name).seeds[seed] for name in (ALARMS, COST, PAIRS)
            }
            assert cells == {name: read[name] for name in cells}
            for attack in ATTACKS:
                ours = next(one for one in done.table.rows if one.name == named(on, kind, attack)).ours
                assert {name: cell.seeds[seed] for name, cell in ours.items()} == {
                    name: read[key(attack, name)] for name in ours
                }
                assert DETECTED in ours
    assert not any(one.published for one in done.table.rows)
    assert len(done.table.rows) == 2 * (4 * 5 + 4 + 1)
    assert len(done.table.orderings) == 2 * (1 + 4 + 4 + 2)


def opened(done, on, seed=1):
    """The classifier of a set, and its pictures that are attacked."""
    model, _ = models.load(done.folder / f"parts/{on.place}/classifier/seed-{seed}/model")
    test = reproduce_pictures.given(None, on.data, "test", TINY.attacked)
    return model.eval(), test


@pytest.mark.parametrize("on", [GREY, COLOUR], ids=lambda on: on.name)
def test_pictures_of_who_is_unaware_by_hand(done, on):
    """Read back from beside the classifier: broken by PGD within the radius, and as far as the table says."""
    from safetensors.torch import load_file

    model, test = opened(done, on)
    made = load_file(done.folder / f"parts/{on.place}/classifier/seed-1" / MADE)
    right = model(test.x()).argmax(1) == test.labels
    x, y = test.x(right), test.labels[right]
    assert set(made) == {"fgsm", "pgd-first-success", "pgd-all-steps", "deepfool", "cw"}
    read = reproduce_pictures.found(done.folder, place(on, KINDS[0], 1))
    for name, at in ((FIRST, "pgd-first-success"), (ALL_STEPS, "pgd-all-steps"), (FAST, "fgsm")):
        broken = model(made[at]).argmax(1) != y
        size = (made[at] - x).flatten(1).abs().amax(1)
        assert float(size.max()) <= 0.1 + 1e-6
        assert read[key(name, SIZE)] == pytest.approx(float(size[broken].double().quantile(0.5)), abs=1e-6)
    for name, at in ((DEEP, "deepfool"), (CARLINI, "cw")):
        broken = model(made[at]).argmax(1) != y
        size = (made[at] - x).flatten(1).norm(dim=1)
        assert read[key(name, SIZE)] == pytest.approx(float(size[broken].double().quantile(0.5)), abs=1e-5)


def test_all_steps_go_to_a_higher_loss(done):
    from safetensors.torch import load_file

    model, test = opened(done, COLOUR)
    made = load_file(done.folder / f"parts/{COLOUR.place}/classifier/seed-1" / MADE)
    y = test.labels[model(test.x()).argmax(1) == test.labels]
    loss = {name: torch.nn.functional.cross_entropy(model(made[name]), y) for name in made}
    assert loss["pgd-all-steps"] > loss["pgd-first-success"]


def test_detectors_fitted_again_say_the_same(done):
    """False alarms and what is detected of PGD, from the classifier that was saved."""
    from safetensors.torch import load_file

    model, test = opened(done, COLOUR)
    training, held_out = (reproduce_pictures.given(None, COLOUR.data, split) for split in ("train", "validation"))
    kind = Kind("branched", "static")
    fitted = detect.fit(TINY.detector(kind, 0.1), model, training.take(slice(0, 60)), held_out, seed=1, batch=250)
    made = load_file(done.folder / f"parts/{COLOUR.place}/classifier/seed-1" / MADE)["pgd-all-steps"]
    y = test.labels[model(test.x()).argmax(1) == test.labels]
    clean = reproduce_pictures.given(None, COLOUR.data, "test", 60)
    with torch.no_grad():
        logits, suspicion = fitted.model.eval().suspect(made)
        alarms = fitted.model.suspect(clean.x())[1] > fitted.model.threshold
    read = reproduce_pictures.found(done.folder, place(COLOUR, kind, 1))
    flagged = (suspicion > fitted.model.threshold)[logits.argmax(1) != y]
    assert read[key(ALL_STEPS, DETECTED)] == pytest.approx(float(flagged.double().mean()))
    assert read[ALARMS] == pytest.approx(float(alarms.double().mean()))
    assert read[PAIRS] == fitted.model.suspicion.learnt_from


def test_who_knows_the_detector_is_detected_no_more_often(done):
    for on in (GREY, COLOUR):
        for kind, seed in [(kind, seed) for kind in KINDS for seed in (0, 1)]:
            read = reproduce_pictures.found(done.folder, place(on, kind, seed))
            for attack in ATTACKS:
                assert read[key(attack, AWARE)] <= read[key(attack, DETECTED)]
            assert read[key(FIRST, AWARE)] == read[key(ALL_STEPS, AWARE)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16)])
def test_the_cost_is_what_is_multiplied_beside_the_classifier(shape):
    """A layer of D inputs and K outputs multiplies D K times; a detector of its own is such a layer here."""
    inputs = shape[0] * shape[1] * shape[2]
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, 10))
    suspicion = Auxiliary(form="separate", network="linear").outline(model, shape)
    assert share(suspicion, model, torch.rand(1, *shape)) == pytest.approx(0.2)


def test_a_branch_costs_less_than_a_network_of_its_own(done):
    for on in (GREY, COLOUR):
        cost = {kind.form: cell_of(done.table.rows, named(on, kind), COST).mean for kind in KINDS}
        assert 0 < cost["branched"] <= 0.25
        assert cost["branched"] < cost["separate"]


def test_the_page_has_bars_of_both_attackers(done):
    assert [plot.svg.count('class="fill"') for plot in done.table.plots] == [8, 8]
    assert [name for name, _ in done.table.plots[0].legend] == [DETECTED, AWARE]


def test_nothing_is_done_twice(done):
    reproduce_pictures.check_nothing_is_done_twice("auxiliary-detector", TINY, done)


def test_an_attack_that_breaks_nothing_has_no_numbers(tmp_path, monkeypatch):
    """Told by dashes, and by orders that are not measured."""
    from holdfast.reproduce.auxiliary_detector import measuring

    monkeypatch.setattr(measuring, "against", lambda *_: {})
    monkeypatch.setattr(networks, "pictures", reproduce_pictures.given)
    one = reproduce_pictures.small("auxiliary-detector", replace(TINY, detector_epochs=1))
    again = reproduce(one, out=tmp_path / "run")
    assert next(one for one in again.table.rows if one.name == named(GREY, KINDS[0], FAST)).ours == {}
    assert [one.held for one in again.table.orderings[:11]] == [True, *[None] * 10]


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


def test_columns_of_given_pictures():
    """Four pictures: the unaware breaks three, two of them flagged; the aware passes with the second and fourth."""
    unaware = of([True, True, True, False], [3.0, 4.0, 1.0, 0.0], [0.1, 0.2, 0.4, 9.0])
    aware = of([False, True, False, True], [5.0, 1.0, 5.0, 1.0], [9.0, 0.5, 9.0, 0.7])
    found = both(unaware, aware, torch.tensor([0.0, 2.0, 3.5]), 2.0, 0)
    assert found[DETECTED] == pytest.approx(2 / 3)
    assert found[AUROC] == pytest.approx((2 + 3 + 1) / 9)
    assert found[SIZE] == pytest.approx(0.2)
    assert found[AWARE] == 0.5  # of all four, which one or the other breaks
    assert found[AWARE_SIZE] == pytest.approx(0.6)
    nothing = of([False], [0.0], [0.0])
    assert set(both(nothing, nothing, torch.zeros(3), 2.0, 0).values()) == {None}


def test_who_knows_the_detector_tries_what_is_made_for_it():
    assert Settings().evasions(minimal=True) == (EvasiveCW(steps=30, searches=6),)
    within = Settings().evasions(minimal=False)
    assert [one.projection for one in within] == ["selective", "orthogonal"]
    assert all(isinstance(one, OrthogonalPGD) and one.steps == 20 for one in within)


# The orderings

USUAL = {"separate, static": 0.0, "separate, dynamic": 0.2, "branched, static": 0.1, "branched, dynamic": 0.3}


def rows_of(changed):
    found = []
    for on in (GREY, COLOUR):
        for kind in KINDS:
            values = {DETECTED: 0.9, AWARE: USUAL[kind.name], COST: 0.1 if kind.form == "branched" else 1.0}
            values |= changed.get((on, kind.name), {})
            for name, columns in ((named(on, kind, ALL_STEPS), [DETECTED, AWARE]), (named(on, kind), [COST])):
                found.append(row(name, [Part(name, 0, name, values, 0.0, "", False)], columns))
    return found


@pytest.mark.parametrize(
    ("on", "kind", "changed", "refuted"),
    [
        (GREY, "separate, static", {}, set()),
        (GREY, "branched, static", {COST: 1.0}, {0}),
        (GREY, "separate, static", {DETECTED: 0.5}, {1}),
        (GREY, "separate, dynamic", {AWARE: 0.5}, {6}),
        (COLOUR, "branched, dynamic", {AWARE: 0.1}, {21}),  # equal is no more
        (COLOUR, "branched, static", {AWARE: 0.6}, {18, 21}),
    ],
)
def test_sentences(on, kind, changed, refuted):
    found = orderings(rows_of({(on, kind): changed}), (GREY, COLOUR))
    assert len(found) == 22
    assert {number for number, one in enumerate(found) if not one.held} == refuted
    assert not [one.sentence for one in found if "{" in one.sentence]


# Real pictures


@pytest.mark.data
def test_on_real_pictures_the_attack_that_it_learnt_from_is_told(data_dir, tmp_path, monkeypatch):
    few = replace(TINY, pictures=1000, batch=50, fitted_on=200, detector_epochs=8, held_out=200, clean=200, attacked=20)
    monkeypatch.setattr(Settings, "grounds", lambda self: (replace(GREY, eps=0.2),))
    done = reproduce(reproduce_pictures.small("auxiliary-detector", few), out=tmp_path / "run", data_dir=data_dir)
    area = cell_of(done.table.rows, named(GREY, KINDS[0], ALL_STEPS), AUROC).mean
    assert area > 0.8
    assert cell_of(done.table.rows, GREY.name, ACCURACY).mean > 0.6

"""What robustness costs and gives: at tiny settings on the digits, against numbers made by hand."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.data import Pictures, load
from holdfast.errors import OptionError
from holdfast.models import load as load_model
from holdfast.models import save
from holdfast.reproduce import REPRODUCTIONS, Bench, cell_of, reproduce, row
from holdfast.reproduce.part import Part
from holdfast.reproduce.trade_off import (
    Frontier,
    Gradients,
    Ground,
    InnerSteps,
    Overfitting,
    Regularisation,
    Settings,
    frontier,
    gradients,
    inner_steps,
    overfitting,
    regularisation,
)
from holdfast.reproduce.trade_off.course import Course, withstood
from holdfast.reproduce.trade_off.ground import recipe
from holdfast.threats import Linf
from holdfast.train import Lipschitz, TotalVariation, card_for, slopes_of

TINY = Settings(
    ground=Ground(data="digits", training=200, test=60, batch=50, steps=2, step_size=0.6, test_steps=3),
    frontier=Frontier(widths=(0.25, 0.5), eps=(0.0, 0.1), judged_at=(0.05, 0.1), epochs=2),
    gradients=Gradients(pictures=40),
    overfitting=Overfitting(training=60, validation=30, width=0.25, epochs=4, scored=20, score_steps=2),
    inner_steps=InnerSteps(steps=(1, 3), width=0.25, pictures=100, rounds=1),
    regularisation=Regularisation(tv=(0.1, 1.0), lipschitz=(0.1, 1.0), width=0.25, epochs=1),
)
GROUPS = (frontier.GROUP, gradients.GROUP, overfitting.GROUP, inner_steps.GROUP, regularisation.GROUP)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trade-off") / "run"
    one = replace(REPRODUCTIONS["trade-off"], presets={"small": TINY})
    first = reproduce(one, out=folder, seeds=(3,))
    return first, reproduce(one, out=folder, seeds=(3,), resume=True)


def found(done, place):
    return json.loads((done.folder / "parts" / place / "seed-3/part.json").read_text())["found"]


def told(done, place):
    """What training wrote of itself."""
    return json.loads((done.folder / "parts" / place / "seed-3/model/train.json").read_text())


def test_five_experiments_in_one_table(done):
    first, again = done
    assert tuple(dict.fromkeys(one.group for one in first.table.rows)) == GROUPS
    assert tuple(dict.fromkeys(plot.group for plot in first.table.plots)) == GROUPS
    assert len(first.table.rows) == 4 + 2 + 2 + 3 + 5
    assert len(first.table.orderings) == 6 + 3 + 4 + 2 + 9
    assert all(part.kept for part in again.parts)
    assert again.to_plain()["rows"] == first.to_plain()["rows"]
    assert "data:image/png" in (first.folder / "report.html").read_text()


def test_a_network_of_the_frontier_by_hand(done):
    first, _ = done
    place = "frontier/width-0.5/eps-0.1"
    model, _ = load_model(first.folder / f"parts/{place}/seed-3/model")
    assert told(first, place)["adversary"]["threat"]["eps"] == 0.1
    assert told(first, "frontier/width-0.5/eps-0")["adversary"] is None
    test = load("digits", "test", limit=60)
    with torch.no_grad():
        natural = (model(test.x()).argmax(1) == test.labels).double().mean().item()
    held = found(first, place)
    columns = (frontier.NATURAL, frontier.robust(0.05), frontier.robust(0.1))
    ours = [cell_of(first.table.rows, frontier.named(0.5, 0.1), column).seeds[3] for column in columns]
    assert ours == [pytest.approx(natural), held[columns[1]], held[columns[2]]]
    assert ours == sorted(ours, reverse=True)
    assert found(first, "frontier/width-0.5/eps-0") != held


# Input gradients


class Plane(nn.Module):
    """Logits W x."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 12, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def test_gradients_of_a_linear_model():
    """W^T (p - e_y), for each picture by itself, whatever the batch."""
    model, x = Plane(), torch.rand(5, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    pictures = Pictures.from_arrays(x.numpy(), [0, 1, 2, 1, 0], classes=("a", "b", "c"))
    p = model(x).softmax(1) - nn.functional.one_hot(pictures.labels, 3)
    expected = (p @ model.weight).view_as(x).double().detach()
    for batch in (5, 2):
        torch.testing.assert_close(gradients.gradients_of(model, pictures, batch), expected, rtol=1e-5, atol=1e-6)
    assert model.weight.grad is None


def test_alignment_is_the_size_of_the_cosine():
    x = torch.tensor([3.0, 4.0, 0.0, 0.0]).view(1, 1, 2, 2)
    for gradient, expected in (((-6, -8, 0, 0), 1.0), ((0, 0, 1, 1), 0.0), ((1, 0, 0, 0), 0.6), ((0, 0, 0, 0), 0.0)):
        given = torch.tensor(gradient, dtype=torch.float64).view(1, 1, 2, 2)
        assert gradients.alignment(given, x).item() == pytest.approx(expected)


def test_roughness_of_what_is_known():
    """0 for a constant, 4 over the mean of pairs for a lone spike, 2 for a chess board, sqrt(2) for normal noise."""
    side = 28
    flat, spike = torch.ones(1, 1, side, side), torch.zeros(1, 1, side, side)
    spike[0, 0, 10, 10] = -5.0
    board = (torch.arange(side)[:, None] + torch.arange(side)).remainder(2).mul(2).sub(1).view(1, 1, side, side)
    pairs = 2 * side * (side - 1)
    for given, expected in ((flat, 0.0), (spike, 4 * side**2 / pairs), (board.double(), 2.0), (0 * flat, 0.0)):
        assert gradients.roughness(given.double()).item() == pytest.approx(expected)
    noise = torch.randn(200, 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert gradients.roughness(noise).mean().item() == pytest.approx(gradients.NOISE, abs=0.01)
    stripes = torch.arange(side).remainder(2).mul(2.0).sub(1).expand(1, 1, side, side)
    assert gradients.roughness(stripes.double()).item() == pytest.approx(1.0)  # rough across, constant down
    assert gradients.roughness(stripes.double().mT).item() == pytest.approx(1.0)


def test_grey_is_0_and_the_ends_are_far_out():
    values = torch.zeros(1, 1, 10, 10, dtype=torch.float64)
    values[0, 0, 0, :2] = torch.tensor([1.0, -1.0])  # standard deviation 0.141, so that both are clipped
    shown = gradients.grey(values)
    assert shown[0, 0, 0, :3].tolist() == [255, 0, 128]
    assert gradients.grey(7 * values).tolist() == shown.tolist()


def test_gradients_are_those_of_the_frontier(done):
    first, _ = done
    model, _ = load_model(first.folder / "parts/frontier/width-0.5/eps-0.1/seed-3/model")
    few = load("digits", "test", limit=40)
    x = few.x().requires_grad_()
    (by_hand,) = torch.autograd.grad(cross_entropy(model(x), few.labels, reduction="sum"), x)
    cosine = torch.cosine_similarity(by_hand.flatten(1), x.flatten(1)).abs().mean().item()
    ours = cell_of(first.table.rows, gradients.named(0.1), gradients.ALIGNED).seeds[3]
    assert ours == pytest.approx(cosine, rel=1e-4)
    assert len(found(first, "gradients/eps-0.1")["shown"]) == 8


# Robust overfitting


def test_best_and_last_of_one_training(done):
    first, _ = done
    held = found(first, "overfitting")
    rates = held["curves"]["robust"]
    assert len(rates) == len(held["curves"]["robust_test"]) == len(held["curves"]["robust_training"]) == 4
    best = 1 + rates.index(max(rates))
    assert held[f"{overfitting.BEST}, {overfitting.EPOCH}"] == best
    assert held[f"{overfitting.BEST}, {overfitting.VALIDATION}"] == max(rates)
    assert held[f"{overfitting.LAST}, {overfitting.VALIDATION}"] == rates[-1]
    assert cell_of(first.table.rows, overfitting.LAST, overfitting.EPOCH).mean == 4
    run = first.folder / "parts/overfitting/seed-3"
    for name, where in ((overfitting.BEST, "model"), (overfitting.LAST, "model/last")):
        model, _ = load_model(run / (where if (run / where).is_dir() else "model"))
        test = load("digits", "test", limit=60)
        with torch.no_grad():
            natural = (model(test.x()).argmax(1) == test.labels).double().mean().item()
        assert held[f"{name}, {overfitting.NATURAL}"] == pytest.approx(natural)


def test_the_course_ends_with_the_last_weights(done):
    first, _ = done
    run = first.folder / "parts/overfitting/seed-3"
    last = run / "model/last"
    model, _ = load_model(last if last.is_dir() else run / "model")
    curves = found(first, "overfitting")["curves"]
    for name, split, limit in (("robust_training", "train", 60), ("robust_test", "test", 60)):
        few = load("digits", split, limit=limit).take(slice(0, 20))
        settings = TINY.overfitting
        rate = withstood(model, few, settings.scorer(), Linf(eps=settings.eps), 3)
        assert rate == pytest.approx(curves[name][-1])


def test_the_last_network_is_another_than_the_best(tmp_path):
    """Unless the last epoch was the best: then training leaves one only."""
    card = card_for("linear", load("digits", "test", limit=60))
    best, last = card.build(0), card.build(1)
    save(tmp_path, best, card)
    assert overfitting._last(tmp_path, best) is best
    save(tmp_path / "last", last, card)
    found = overfitting._last(tmp_path, best).state_dict()
    assert all(torch.equal(found[name], value) for name, value in last.state_dict().items())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_training_loses_no_score(done, tmp_path, monkeypatch, moment):
    """Killed between an epoch and its score, or right after the score: the same course as without a kill."""
    first, _ = done
    real, calls = Course.catch_up, []

    def dying(course):
        calls.append(1)
        if moment == "after":
            real(course)
        if len(calls) == 3:  # the first is before the training
            raise KeyboardInterrupt
        if moment == "before":
            real(course)

    monkeypatch.setattr(Course, "catch_up", dying)
    bench = Bench(out=tmp_path, seeds=(3,), asked={}, resume=True)
    with pytest.raises(KeyboardInterrupt):
        overfitting.measure(bench, TINY.ground, TINY.overfitting)
    monkeypatch.setattr(Course, "catch_up", real)
    overfitting.measure(bench, TINY.ground, TINY.overfitting)
    assert dict(bench.parts[0].found) == found(first, "overfitting")


# The cost of inner steps


def test_passes_are_one_more_than_the_inner_steps(done):
    first, _ = done
    for count in (0, 1, 3):
        name = inner_steps.named(count)
        assert cell_of(first.table.rows, name, inner_steps.TIMES).mean == 1 + count
        assert cell_of(first.table.rows, name, inner_steps.PASSES).mean == 2 * (1 + count)
        assert cell_of(first.table.rows, name, inner_steps.PER_THOUSAND).mean > 0
    assert cell_of(first.table.rows, inner_steps.named(0), inner_steps.SECONDS).mean == 1
    assert first.table.orderings[14].held is None  # twenty steps were not asked for


def test_the_least_time_counts(monkeypatch):
    """Of the rounds, and as a multiple of the least plain one; the very first epoch is not counted."""
    ticks = {0: [9.0, 2.0, 4.0], 5: [12.0, 10.0]}
    recipes = {0: 0, 5: 5}
    monkeypatch.setattr(
        inner_steps, "_epoch", lambda bench, card, pictures, chosen, seed: (ticks[chosen].pop(0), 2.0 * (1 + chosen))
    )
    bench = Bench(out=None, seeds=(0,), asked={})
    held = inner_steps.side_by_side(bench, None, range(500), recipes, 2, 0)
    assert held[f"5 inner steps, {inner_steps.SECONDS}"] == 5.0
    assert held[f"5 inner steps, {inner_steps.PER_THOUSAND}"] == 20.0
    assert held[f"plain training, {inner_steps.PER_THOUSAND}"] == 4.0
    assert held[f"5 inner steps, {inner_steps.TIMES}"] == 6.0


# Over-regularisation


def test_slopes_and_penalties_of_a_row(done):
    assert regularisation.penalties((0.0, 0.0)) == ()
    assert regularisation.penalties((0.1, 0.0)) == (TotalVariation(eps=0.1),)
    assert regularisation.penalties((0.1, 2.0)) == (TotalVariation(eps=0.1), Lipschitz(weight=2.0))
    first, _ = done
    place = "regularisation/tv-0.1-lipschitz-1"
    tv, lipschitz = told(first, place)["penalties"]
    assert (tv["name"], tv["eps"], lipschitz["name"], lipschitz["weight"]) == ("tv", 0.1, "lipschitz", 1.0)
    model, _ = load_model(first.folder / f"parts/{place}/seed-3/model")
    mean, largest = slopes_of(model, load("digits", "test", limit=60)).summary()["loss"]
    row_name = regularisation.named((0.1, 1.0))
    assert cell_of(first.table.rows, row_name, regularisation.MEAN).mean == pytest.approx(mean)
    assert cell_of(first.table.rows, row_name, regularisation.LARGEST).mean == pytest.approx(largest)


# Orders on made-up numbers: as the sources have it, and the other way round.


def made(names, columns, values):
    return [
        row(name, [Part("p", 0, "parts/p", dict(zip(columns, some)), 0.0, "", False)], list(columns))
        for name, some in zip(names, values, strict=True)
    ]


def orders(which, turned):
    """The orderings of one experiment on numbers that are as its source has them, or the other way round."""
    if which == "frontier":
        settings = TINY.frontier
        names = [frontier.named(width, eps) for width in settings.widths for eps in settings.eps]
        columns = (frontier.NATURAL, frontier.robust(0.05), frontier.robust(0.1))
        values = [(0.9, 0.2, 0.0), (0.7, 0.6, 0.5), (0.92, 0.2, 0.0), (0.8, 0.7, 0.6)]
        if turned:
            values = [(0.7, 0.2, 0.5), (0.8, 0.6, 0.4), (0.85, 0.2, 0.4), (0.9, 0.7, 0.3)]
        return frontier._orderings(settings, made(names, columns, values))
    if which == "overfitting":
        columns = (overfitting.TEST, overfitting.TRAIN, overfitting.NATURAL)
        values = [(0.6, 0.7, 0.8), (0.5, 0.9, 0.8)]
        rows = made((overfitting.BEST, overfitting.LAST), columns, values[::-1] if turned else values)
        return [order for n, order in enumerate(overfitting._orderings(rows)) if n != 2]
    settings = TINY.regularisation
    names = [regularisation.named(weights) for weights in settings.weights()]
    columns = (regularisation.NATURAL, regularisation.robust(settings), regularisation.MEAN, regularisation.LARGEST)
    plain, moderate, much = (0.9, 0.3, 1.0, 9.0), (0.9, 0.5, 0.5, 6.0), (0.7, 0.4, 0.2, 3.0)
    values = [plain, moderate, much, (0.9, 0.5, 0.5, 4.0), (0.7, 0.4, 0.4, 2.0)]
    if turned:
        values = [much, (0.6, 0.3, 1.0, 9.0), (0.9, 0.6, 1.5, 12.0), (0.9, 0.5, 0.5, 10.0), (0.91, 0.4, 0.4, 12.0)]
    return regularisation._orderings(settings, made(names, columns, values))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("which", ["frontier", "overfitting", "regularisation"])
def test_orders_of_the_sources(which, turned):
    assert {order.held for order in orders(which, turned)} == {not turned}


def test_capacity_mitigates_what_robustness_costs():
    """The loss at the least width against that at the largest."""
    settings = TINY.frontier
    names = [frontier.named(width, eps) for width in settings.widths for eps in settings.eps]
    rows = made(names, (frontier.NATURAL,), [(0.9,), (0.7,), (0.95,), (0.65,)])
    order = frontier._mitigated(settings, rows)
    assert order.held is False
    assert list(order.numbers.values()) == pytest.approx([0.2, 0.3])


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Ground, {"training": 3}),
        (Frontier, {"widths": (1.0,)}),
        (Frontier, {"eps": (0.1, 0.2)}),
        (Frontier, {"judged_at": ()}),
        (Overfitting, {"epochs": 1}),
        (InnerSteps, {"steps": (5, 1)}),
        (InnerSteps, {"rounds": 0}),
        (Regularisation, {"tv": (0.0, 1.0)}),
        (Regularisation, {"lipschitz": (1.0,)}),
    ],
)
def test_impossible_settings_are_refused(kind, wrong):
    with pytest.raises(OptionError, match="allowed"):
        kind(**wrong)


def test_the_test_attack_and_the_inner_one():
    ground = Ground(steps=4, test_steps=9)
    assert (ground.inner().steps, ground.inner(3).steps, ground.judge().steps) == (4, 3, 9)
    plain, hard = recipe(ground), recipe(ground, eps=0.2)
    assert plain.adversary is None
    assert (hard.adversary.attack, hard.adversary.threat) == (ground.inner(), Linf(eps=0.2))

"""How much capacity robustness takes: at tiny settings, against numbers made by hand."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from holdfast.attacks import FGSM, PGD
from holdfast.data import load
from holdfast.errors import OptionError
from holdfast.models import load as load_model
from holdfast.reproduce import REPRODUCTIONS, Bench, capacity, cell_of, networks, reproduce, row
from holdfast.reproduce.capacity import settings as room
from holdfast.reproduce.capacity.orderings import orderings
from holdfast.reproduce.capacity.settings import Capacity
from holdfast.reproduce.part import Part
from holdfast.threats import Linf

TINY = Capacity(scales=(1, 3), training=200, test=60, epochs=2, batch=50, steps=2, step_size=0.6, test_steps=3)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """On the digits that are always at hand, where small networks learn something in no time."""
    folder = tmp_path_factory.mktemp("capacity") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capacity, "DATA", "digits")
        one = replace(REPRODUCTIONS["capacity"], presets={"small": TINY})
        first = reproduce(one, out=folder, seeds=(0, 1))
        again = reproduce(one, out=folder, seeds=(0, 1), resume=True)
    return first, again


def test_a_row_for_each_training_and_scale(done):
    first, _ = done
    names = [f"{training}, x{scale}" for training in room.TRAININGS for scale in (1, 3)]
    assert [one.name for one in first.table.rows] == [*names, *(f"training {name}" for name in names)]
    assert [column.name for column in first.table.columns] == [*room.ACCURACIES, *room.COURSE]
    assert len(first.table.orderings) == 11
    assert len(first.table.plots) == len(room.TRAININGS) + 2
    for one in first.table.rows[: len(names)]:
        rates = [one.ours[name].seeds for name in (room.NATURAL, room.BY_FGSM, room.BY_PGD)]
        for natural, fgsm, pgd in zip(*(rate.values() for rate in rates)):
            assert natural >= fgsm
            assert natural >= pgd


def test_ours_comes_from_parts_and_they_are_kept(done):
    first, again = done
    assert again.to_plain()["rows"] == first.to_plain()["rows"]
    assert all(part.kept for part in again.parts)
    for one in first.table.rows[:8]:
        for place, (seed, value) in zip(one.parts, one.ours[room.BY_PGD].seeds.items()):
            found = json.loads((first.folder / place / "part.json").read_text())
            assert (found["found"]["pgd"], found["asked"]["seed"]) == (value, seed)


@pytest.mark.parametrize("training", room.TRAININGS)
def test_numbers_by_hand(done, training):
    """Natural and FGSM accuracy, and the share of the commonest answer, of a trained network."""
    first, _ = done
    folder = first.folder / f"parts/{room.TRAININGS[training]}/x3/seed-1"
    model, card = load_model(folder / "model")
    assert card.options["width"] == 3 * TINY.base
    test = load("digits", "test", limit=60)
    x, y = test.x().requires_grad_(), test.labels
    logits = model(x)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, y, reduction="sum"), x)
    right = logits.argmax(1) == y
    with torch.no_grad():
        after = model((x + TINY.eps * gradient.sign()).clamp(0, 1)).argmax(1) == y
    said = logits.argmax(1).tolist()
    by_hand = {
        room.NATURAL: right.double().mean().item(),
        room.BY_FGSM: (right & after).double().mean().item(),
        room.COMMONEST: max(said.count(label) for label in range(10)) / len(said),
    }
    ours = {name: cell_of(first.table.rows, *room.cell(training, 3, name)).seeds[1] for name in by_hand}
    assert ours == pytest.approx(by_hand)


def test_trainings_differ_in_what_they_are_trained_on():
    plain, fgsm, pgd, growing = (room.recipe(TINY, training) for training in room.TRAININGS)
    assert plain.adversary is None
    assert fgsm.adversary.attack == FGSM()
    assert pgd.adversary.attack == growing.adversary.attack == PGD(steps=2, step_size=0.6)
    assert {one.adversary.threat for one in (fgsm, pgd, growing)} == {Linf(eps=0.3)}
    assert [one.options.warm_up for one in (plain, fgsm, pgd, growing)] == [0, 0, 0, TINY.warm_up]


# What the source describes, and the same upside down, for scales 1 and 3: natural, FGSM, PGD, loss, commonest.
AS_THE_SOURCE = {
    room.PLAIN: [(0.9, 0.1, 0.0, 0.3, 0.2), (0.95, 0.2, 0.0, 0.2, 0.15)],
    room.ON_FGSM: [(0.8, 0.7, 0.0, 0.6, 0.2), (0.9, 0.9, 0.1, 0.3, 0.2)],
    room.ON_PGD: [(0.11, 0.11, 0.11, 2.3, 1.0), (0.9, 0.8, 0.7, 0.6, 0.2)],
    room.GROWING: [(0.8, 0.7, 0.5, 1.0, 0.2), (0.9, 0.8, 0.75, 0.6, 0.2)],
}
UPSIDE_DOWN = {training: pair[::-1] for training, pair in AS_THE_SOURCE.items()}
UPSIDE_DOWN[room.ON_FGSM] = [(0.8, 0.7, 0.7, 0.6, 0.2), (0.9, 0.9, 0.9, 0.3, 0.2)]


@pytest.mark.parametrize(("numbers", "held"), [(AS_THE_SOURCE, True), (UPSIDE_DOWN, False)])
def test_orders_of_the_source(numbers, held):
    rows = []
    for training, pair in numbers.items():
        for scale, values in zip((1, 3), pair):
            found = dict(zip((*room.ACCURACIES.values(), *room.COURSE.values()), values))
            parts = [Part("p", 0, "parts/p", found, 0.0, "", False)]
            rows.append(row(room.named(training, scale), parts, room.ACCURACIES))
            rows.append(row(room.named(training, scale, of=room.LOSS), parts, room.COURSE))
    assert [order.held for order in orderings(TINY, rows)] == [held] * 11


class Constant(torch.nn.Module):
    """Class 3 for every picture, with a graph to its pixels but no gradient."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(10)[3])

    def forward(self, x):
        return self.weight + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=2, random_start=False)])
def test_a_network_without_gradient_is_not_called_robust(tmp_path, attack):
    """The accuracy that is left is told, with the sentence that it says nothing."""
    test = load("digits", "test", limit=60)
    bench = Bench(out=tmp_path, seeds=(0,), asked={})
    held = networks.held(bench, tmp_path, Constant(), test, Linf(eps=0.3), attack, [0.1, 0.3], name="a")
    natural = (test.labels == 3).double().mean().item()
    assert held == networks.Held(pytest.approx(natural), (pytest.approx(natural),) * 2, True)
    dead = Part("pgd/x1", 0, "parts/pgd/x1/seed-0", {"idle": held.idle}, 0.0, "", False)
    alive = Part("pgd/x2", 0, "parts/pgd/x2/seed-0", {"idle": False}, 0.0, "", False)
    (said,) = networks.idle_note([alive, dead])
    assert "parts/pgd/x1/seed-0:" in said
    assert "x2" not in said
    assert networks.idle_note([alive]) == ()


@pytest.mark.parametrize("wrong", [{"scales": (1,)}, {"scales": (4, 1)}, {"eps": 0.0}, {"base": -1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(OptionError, match="allowed"):
        Capacity(**wrong)


def test_presets_are_of_one_kind():
    presets = REPRODUCTIONS["capacity"].presets
    assert presets["small"].scales == (1, 2, 4)
    assert presets["full"].scales == (1, 2, 4, 8, 16)
    assert {preset.eps for preset in presets.values()} == {0.3}

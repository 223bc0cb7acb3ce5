"""The report on Deep Defense: its measures against what they must be, and the whole of it on a few small pictures."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM
from holdfast.augment import Mirror
from holdfast.data import Pictures, load
from holdfast.errors import DataError, OptionError, RunError
from holdfast.evaluate import evaluate
from holdfast.models import load as read
from holdfast.reproduce import REPRODUCTIONS, cell_of, reproduce
from holdfast.reproduce.deep_defense import choosing, measuring
from holdfast.reproduce.deep_defense import rows as rows_of_parts
from holdfast.reproduce.deep_defense.settings import COLUMNS, RHO, THREE, Settings
from holdfast.reproduce.deep_defense.training import CHOSEN, CLEAN_DEFENSE, UNCUT, WAYS
from holdfast.reproduce.part import Part
from holdfast.threats import Linf
from holdfast.train import Adversary, Consistency, Recipe, TrainOptions, train
from holdfast.train.checks import check_box, check_ends

FEW = Settings(
    data="digits",
    limit=300,
    first=30,
    more=2,
    batch=16,
    candidates=("PGD in L2, eps 0.5", "Deep Defense, falling rate"),
)


@pytest.fixture(scope="module")
def line():
    """A linear model of three classes on four pixels, and pictures that it is not always right on."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 4, generator=generator))
        model[1].bias.copy_(0.1 * torch.randn(3, generator=generator))
    images = torch.rand(400, 1, 2, 2, generator=generator)
    labels = model(images.double()).argmax(1)
    labels[::9] = (labels[::9] + 1) % 3
    return model.eval(), Pictures.from_arrays(images, labels, classes=("a", "b", "c"))


def test_rho2_of_a_linear_model_is_margin_over_dual_norm(line):
    model, pictures = line
    x = pictures.x(dtype=torch.float64)
    logits, weight = model(x).detach(), model[1].weight.detach()
    own = logits.argmax(1)
    far = torch.stack(
        [(logits.amax(1) - logits[:, k]) / (weight[own] - weight[k]).norm(dim=1).clamp_min(1e-300) for k in range(3)], 1
    )
    far[torch.arange(len(own)), own] = torch.inf
    expected = (1.02 * far.amin(1) / x.flatten(1).norm(dim=1)).mean()
    assert measuring.rho2(model, pictures) == pytest.approx(float(expected), rel=1e-6)
    fooling = measuring.deepfooled(model, pictures)
    assert (model(fooling.images.double()).argmax(1) != own).all()
    assert fooling.images.min() < 0  # not cut to the box


def test_eps_ref_is_the_first_radius_that_fools_half(line):
    model, pictures = line
    eps = measuring.reference(model, pictures)
    attack = measuring.Signs(model, pictures)
    assert attack.accuracy(eps) <= 0.5 < attack.accuracy(eps - measuring.FINE)
    assert all(attack.accuracy(float(radius)) > 0.5 for radius in torch.linspace(0, eps - 1e-4, 50))
    with pytest.raises(RunError, match="wrong on half"):
        measuring.reference(model, replace(pictures, labels=(pictures.labels + 1) % 3))
    deaf = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    nn.init.zeros_(deaf[1].weight)
    deaf[1].bias.data = torch.tensor([1.0, 0.0, 0.0])
    with pytest.raises(RunError, match="no one-step attack"):
        measuring.reference(deaf, replace(pictures, labels=torch.zeros_like(pictures.labels)))


def test_the_one_step_attack_is_the_library_s(line):
    model, pictures = line
    attack = measuring.Signs(model, pictures)
    found = evaluate(model, pictures, Linf(eps=0.3), FGSM(), eps=[0.05, 0.3], checks=False, stand_in="off", batch=100)
    assert [attack.accuracy(point.eps) for point in found.curve] == [point.own.rate for point in found.curve]
    assert found.curve[0].own.rate > found.curve[1].own.rate


def test_areas_are_shares_of_pairs_in_order():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(90, 3, generator=generator).softmax(1)
    probabilities[:30] = probabilities[30:60]  # ties
    labels = torch.arange(90) % 3
    found = measuring.areas(probabilities, labels)
    for k in range(3):
        own, other = probabilities[labels == k, k].double(), probabilities[labels != k, k].double()
        ahead = (own[:, None] > other).double() + 0.5 * (own[:, None] == other).double()
        assert found[k] == pytest.approx(float(ahead.mean()), abs=1e-12)
        points = torch.tensor(measuring.curve(probabilities, labels, k), dtype=torch.float64)
        assert points[0].tolist() == [0, 0]
        assert points[-1].tolist() == [1, 1]
        assert float(torch.trapezoid(points[:, 1], points[:, 0])) == pytest.approx(found[k], abs=0.02)


def test_moved_pictures_are_trained_on_only_where_that_is_said(line):
    _, pictures = line
    moved = replace(pictures, images=pictures.images - 0.5)
    recipe = Recipe(options=TrainOptions(epochs=1, batch=50))
    with pytest.raises(DataError, match="allowed: 0 to 1"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), moved, recipe=recipe)
    done = train(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), moved, recipe=recipe, box=UNCUT)
    assert len(done.history) == 1
    with pytest.raises(DataError, match=r"allowed: -1 to 0\.2"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), moved, recipe=recipe, box=(-1.0, 0.2))


@pytest.mark.parametrize(
    ("part", "box", "told"),
    [
        ({"adversary": Adversary(FGSM(), Linf(eps=0.1))}, (-1.0, 1.0), r"in \[-0\.5, 0\.9\] and a threat in \[0, 1\]"),
        ({"adversary": Adversary(FGSM(), Linf(eps=0.1, low=-0.6, high=0.95))}, (-1.0, 1.0), None),
        ({"augment": (Mirror(),)}, (-1.0, 1.0), "mirror on pictures in"),
        ({"penalties": (Consistency(),)}, (0.0, 2.0), "consistency on pictures in"),
        ({"augment": (Mirror(),)}, (0.2, 0.9), None),
    ],
)
def test_a_box_fits_what_takes_pictures_to_be_within_it(part, box, told):
    recipe = Recipe(options=TrainOptions(epochs=1, batch=50), **part)
    images = torch.tensor([-0.5, 0.9]).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    pictures = Pictures("moved", "train", images, torch.tensor([0, 1]), ("a", "b"), torch.arange(2))
    with nullcontext() if told is None else pytest.raises(OptionError, match=told):
        check_box(recipe, box, pictures)


@pytest.mark.parametrize("box", [(1.0, 0.0), (0.0, float("inf")), (0.0, float("nan"))])
def test_a_box_has_two_ends(box):
    with pytest.raises(OptionError, match="the smaller one first"):
        check_ends(box)


def test_the_choice_is_the_best_of_the_worst():
    def part(name, *figures):
        return Part(name, 0, "", dict(zip(COLUMNS, figures, strict=True)), 0.0, "", False)

    rivals = {name: part(name, 0.8, 0.1, 0.8, 0.6, 0.5) for name in choosing.RIVALS}
    rivals[CLEAN_DEFENSE] = part("", 0.82, 0.1, 0.8, 0.6, 0.4)
    found = {
        **rivals,
        "one column lost": part("", 0.9, 0.5, 0.9, 0.9, 0.45),
        "all a little ahead": part("", 0.83, 0.11, 0.83, 0.7, 0.6),
        "less ahead": part("", 0.825, 0.2, 0.85, 0.7, 0.6),
    }
    assert choosing.best(found) == "all a little ahead"
    assert choosing.least_gain(found, "one column lost") == pytest.approx(0.45 / 0.5)
    assert choosing.least_gain(found, "all a little ahead") == pytest.approx(0.83 / 0.82)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    made = replace(REPRODUCTIONS["deep-defense"], presets={"small": FEW}, same=(), seeds=(0, 1))
    out = tmp_path_factory.mktemp("dd")
    return made, out, reproduce(made, out=out)


def test_deep_defense_in_small(done):
    _, out, first = done
    rows = first.table.rows
    networks = [*WAYS, CHOSEN]
    tried = [f"validation: {name}" for name in (*choosing.RIVALS, *FEW.candidates)]
    assert {one.name for one in rows} == {*networks, *tried, *(f"class {k + 1}, {k}" for k in range(10))}
    for name in networks:
        for column in COLUMNS:
            cell = cell_of(rows, name, column)
            assert list(cell.seeds) == [0, 1]
            assert 0 < cell.mean < 1
    assert cell_of(rows, "Deep Defense", COLUMNS[-1]).mean == pytest.approx(0.5, abs=0.01)
    assert cell_of(rows, "Deep Defense", RHO).mean > cell_of(rows, "vanilla", RHO).mean
    assert cell_of(rows, "vanilla", COLUMNS[0]).mean > 0.75  # it begins with the first network's weights
    for one, other in (("vanilla", "adversarial training"), ("Deep Defense", CLEAN_DEFENSE)):  # other pictures
        assert cell_of(rows, one, RHO).seeds != cell_of(rows, other, RHO).seeds
    assert all(list(cell.seeds) == [0] for one in rows if one.name in tried for cell in one.ours.values())
    assert len(first.table.plots) == 4
    assert first.table.plots[-1].svg.count("<image") == 24
    assert [ordering.held is None for ordering in first.table.orderings] == [False] * len(first.table.orderings)
    assert "Chosen on validation: " + choosing.best(_choice(first)) in first.table.notes[-1]
    assert (out / "parts/first/seed-0/model/model.safetensors").is_file()
    published = next(one for one in rows if one.name == "Deep Defense").published
    assert published[RHO] == 5.54e-2
    assert set(THREE) == {one.name for one in rows if RHO in one.published}


def _choice(done):
    parts = {part.name: part for part in done.parts}
    return {name: parts[f"choice/{choosing.slug(name)}/measured"] for name in (*choosing.RIVALS, *FEW.candidates)}


def test_areas_are_those_on_pictures_made_against_the_first_network(done):
    _, out, table = done
    first, vanilla = (read(out / f"parts/{name}/seed-0/model")[0] for name in ("first", "vanilla/training"))
    test = load("digits", "test", limit=FEW.limit)
    fooling = test.x() + measuring.moves(first, test)
    assert (first(fooling).argmax(1) == first(test.x()).argmax(1)).double().mean() < 0.05
    expected = measuring.areas(vanilla(fooling).softmax(1).detach(), test.labels)
    column = rows_of_parts.area_of("vanilla")
    found = [cell_of(table.table.rows, f"class {k + 1}, {k}", column).seeds[0] for k in range(10)]
    assert found == pytest.approx(expected)


def test_a_resumed_call_keeps_every_part(done):
    made, out, first = done
    again = reproduce(made, out=out, resume=True)
    assert all(part.kept for part in again.parts)
    assert again.to_plain()["rows"] == first.to_plain()["rows"]


@pytest.mark.parametrize("options", [{"first": 0}, {"candidates": ()}, {"candidates": ("unheard of",)}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(OptionError, match=r"allowed|known"):
        Settings(**options)

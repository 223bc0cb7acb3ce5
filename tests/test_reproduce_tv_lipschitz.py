"""The talk on total variation: its measures against closed forms, and the whole of it on a few small pictures."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.reproduce import REPRODUCTIONS, Bench, cell_of, reproduce
from holdfast.reproduce.tv_lipschitz import COLUMNS
from holdfast.reproduce.tv_lipschitz import settings as of
from holdfast.reproduce.tv_lipschitz.measuring import FAR, NEAR, measured, median
from holdfast.reproduce.tv_lipschitz.settings import FIGURES, TABLE_1, Settings, published, recipes
from holdfast.threats import Linf

FEW = Settings(data="digits", pictures=120, test=40, carried=5, epochs=2, batch=20, steps=8, walk=0.02, augment=False)


def test_columns_of_a_linear_model_are_its_closed_forms(tmp_path):
    """Two classes parted by a plane, pictures in the middle of the box: distances are margin over dual norm."""
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(1, 3, 4, 4, generator=generator)
    normal /= normal.norm()
    spread = 0.4 * torch.rand(41, generator=generator) - 0.15
    images = (0.5 + 0.02 * torch.randn(41, 3, 4, 4, generator=generator)).clamp(0, 1)
    images -= ((images - 0.5) * normal).sum((1, 2, 3))[:, None, None, None] * normal
    images += spread[:, None, None, None] * normal
    scale = 3.0
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([-normal.flatten(), normal.flatten()]) * scale / 2)
        model[1].bias.copy_(torch.tensor([1.0, -1.0]) * scale / 2 * 0.5 * normal.sum())
    test = Pictures.from_arrays(images, torch.ones(41, dtype=torch.int64))
    settings = replace(FEW, steps=100, walk=0.01, carried=41)
    found = measured(Bench(out=tmp_path, seeds=(0,), asked={}), tmp_path, model.eval(), test, settings, 0)
    margin = spread.double()
    wrong, right = margin < 0, margin.clamp(min=0)
    assert found[of.ERROR] == pytest.approx(float(wrong.double().mean()))
    assert 0 < wrong.sum() < 20
    middle = float(right.sort().values[20])
    assert found[of.L2_DISTANCE] == pytest.approx(middle, rel=0.02)
    assert found[of.LINF_DISTANCE] == pytest.approx(middle / float(normal.abs().sum()), rel=0.02)
    assert found[of.TIME] == pytest.approx(middle / 0.01, abs=1.01)
    assert found[of.ERROR_L2] == pytest.approx(float((right <= NEAR).double().mean()), abs=0.03)
    box = float((right <= 8 / 255 * normal.abs().sum()).double().mean())
    assert found[of.ERROR_LINF] == found[of.IFGSM_LINF] == pytest.approx(box, abs=0.03)
    assert found[of.PGD_L2] == found[of.CW_L2] == 1.0
    assert margin.max() < 100 / 255 < FAR
    with torch.no_grad():
        p = model(images).softmax(1)[:, 0].double()
    assert found[of.MEAN_LOSS] == pytest.approx(float((p * scale).mean()), rel=1e-5)
    assert found[of.MAX_LOSS] == pytest.approx(float((p * scale).max()), rel=1e-5)
    assert found[of.MAX_F] == pytest.approx(float((p * (1 - p) * scale).max()), rel=1e-5)


def test_the_median_counts_all_pictures():
    assert median(torch.tensor([3.0, 0.0, torch.inf, 0.0, 1.0])) == 1.0
    assert median(torch.tensor([0.0, 2.0, 3.0, torch.inf])) == 3.0


def test_figures_are_those_of_the_talk():
    assert published(of.TV_MOST)[of.LINF_DISTANCE] == 14.7e-2  # as printed
    assert published(of.TV_LITTLE)[of.ERROR] == 0.0413
    assert published(of.TV_LITTLE)[of.CW_L2] == 0.908
    assert published("Madry et al.") == {of.ERROR: 0.128, of.PGD_L2: None, of.CW_L2: None, of.IFGSM_LINF: 0.542}
    assert published(of.DIFFERENCES) == {}


def test_rows_train_with_what_they_are_called_by():
    made = recipes(FEW)
    assert [(p.name, getattr(p, "eps", getattr(p, "weight", None))) for p in made[of.TV_MOST].penalties] == [
        ("tv", 0.1),
        ("lipschitz", 1.0),
    ]
    assert made[of.ONE_STEP].adversary.attack == FGSM()
    assert made[of.ONE_STEP].adversary.threat == Linf(eps=1 / 255)
    assert made[of.DIFFERENCES].penalties[0].norm == "l1"
    assert made[of.DIFFERENCES].penalties[0].eps == 1 / 255
    assert not made[of.PLAIN].penalties
    assert made[of.PLAIN].adversary is None


def test_tv_lipschitz_in_small(tmp_path):
    made = replace(REPRODUCTIONS["tv-lipschitz"], presets={"small": FEW})
    done = reproduce(made, out=tmp_path)
    rows = done.table.rows
    assert [one.name for one in rows[:7]] == list(recipes(FEW))
    for name in recipes(FEW):
        for column in COLUMNS:
            assert cell_of(rows, name, column.name).mean >= 0
        near, far = (cell_of(rows, name, column).mean for column in (of.ERROR, of.ERROR_L2))
        assert near <= far
    assert {one.name for one in rows if not one.ours} == set(TABLE_1) - set(FIGURES)
    assert len({cell_of(rows, name, of.MEAN_LOSS).mean for name in recipes(FEW)}) == 7  # each trained otherwise
    assert cell_of(rows, of.TV_MOST, of.MEAN_LOSS).mean < cell_of(rows, of.PLAIN, of.MEAN_LOSS).mean
    assert len(done.table.plots) == 2
    assert all(ordering.held is not None for ordering in done.table.orderings)
    assert "14.7e-3" in done.table.notes[0]
    again = reproduce(made, out=tmp_path, resume=True)
    assert all(part.kept for part in again.parts)
    assert again.to_plain()["rows"] == done.to_plain()["rows"]


@pytest.mark.parametrize("options", [{"epochs": 0}, {"walk": 0.0}, {"steps": 1}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(OptionError, match="allowed"):
        Settings(**options)

"""Accuracy and calibration under shift: errors that are known, weights by hand, resumption, and the command line."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from command_line import call, plain
from holdfast import data, evaluate, report, uncertainty
from holdfast.corrupt import CORRUPTIONS, EXTRA, build, corrupted, stored
from holdfast.corrupt.fields import cut
from holdfast.data import Pictures
from holdfast.errors import DataError, ModelError, OptionError, RunError
from holdfast.evaluate import LabelShift, shifts
from holdfast.evaluate.corruption_error import COUNTED, corruption_errors
from holdfast.evaluate.label_shift import effective, importance, read_label_shift
from holdfast.evaluate.under_attack import under_attack
from holdfast.files import read_object
from holdfast.report.shift import severity_curve
from holdfast.threats import Linf


class Brightest(nn.Module):
    """Says by mean brightness, with a confidence that grows with it."""

    def forward(self, x):
        mean = x.flatten(1).mean(1)
        return torch.stack([4 * (0.5 - mean), 4 * (mean - 0.5)], 1)


def grey(n=12, seed=0):
    """Dark pictures of class 0 and light ones of class 1."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    level = torch.where(labels == 0, 60.0, 190.0).view(-1, 1, 1, 1)
    images = (level + 40 * torch.rand(n, 1, 8, 8, generator=rng)).to(torch.uint8)
    return Pictures("grey", "test", images, labels, ("dark", "light"), torch.arange(n))


def close(found, expected):
    assert found == pytest.approx(expected, abs=1e-12)


# Corruption errors.

BY_HAND = {"fog": {1: 0.2, 3: 0.6}, "jpeg": {1: 0.1, 3: 0.1}, "spatter": {1: 1.0, 3: 1.0}}
BASELINE = {"fog": {1: 0.4, 3: 0.6, 5: 0.9}, "jpeg": {1: 0.3, 3: 0.5}, "spatter": {1: 0.5, 3: 0.5}}


def test_mce_by_hand():
    found = corruption_errors(BY_HAND, 0.05, BASELINE, 0.1)
    close(found.each["fog"].ce, 0.8 / 1.0)
    close(found.each["jpeg"].ce, 0.2 / 0.8)
    close(found.each["spatter"].ce, 2.0)
    close(found.mce, (0.8 + 0.25) / 2)  # spatter is told, not counted
    close(found.each["fog"].relative_ce, (0.8 - 0.1) / (1.0 - 0.2))
    close(found.each["jpeg"].relative_ce, (0.2 - 0.1) / (0.8 - 0.2))
    close(found.relative_mce, (0.7 / 0.8 + 0.1 / 0.6) / 2)
    close(found.mean, (0.4 + 0.1) / 2)
    assert found.counted == ("fog", "jpeg")
    assert not found.complete


def test_without_a_baseline_errors_are_plain():
    found = corruption_errors(BY_HAND, 0.05)
    close(found.mean, 0.25)
    assert found.mce is found.relative_mce is None
    assert len(COUNTED) == 15
    assert set(COUNTED) | set(EXTRA) == set(CORRUPTIONS)
    assert corruption_errors({name: {1: 0.5} for name in CORRUPTIONS}, 0.0).complete


def test_what_a_baseline_cannot_weigh_is_not_defined():
    found = corruption_errors({"fog": {1: 0.2}, "snow": {1: 0.3}}, 0.1, {"fog": {1: 0.0}, "snow": {1: 0.4}}, 0.2)
    assert found.each["fog"].ce is None
    assert found.each["fog"].relative_ce is None
    assert found.mce is None  # no mean over what is left
    close(found.each["snow"].relative_ce, 1.0)
    with pytest.raises(DataError, match=r"lacks 1 .*: fog 2;"):
        corruption_errors({"fog": {2: 0.2}}, 0.1, {"fog": {1: 0.1}}, 0.1)


@given(st.dictionaries(st.sampled_from(COUNTED), st.floats(0.01, 1), min_size=1))
def test_a_baseline_has_an_mce_of_one_against_itself(means):
    errors = {name: {1: mean, 5: mean / 2} for name, mean in means.items()}
    found = corruption_errors(errors, 0.001, errors, 0.001)
    close(found.mce, 1.0)
    close(found.relative_mce, 1.0)


# Label shift.


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.integers(0, 5), st.floats(0.2, 10))
def test_weighted_accuracy_is_the_mean_over_classes_by_share(labels, seed, alpha):
    y = torch.tensor(labels)
    target = LabelShift(alpha=alpha).target(y, 4, seed)
    close(float(target.sum()), 1.0)
    assert (target[y.bincount(minlength=4) == 0] == 0).all()
    weight = importance(y, target)
    close(float(weight.mean()), 1.0)
    right = torch.arange(len(y)) % 3 == 0
    by_class = sum(float(target[k]) * float(right[y == k].double().mean()) for k in set(labels))
    assert float((weight * right).sum() / weight.sum()) == pytest.approx(by_class, abs=1e-9)
    assert 0 < effective(weight) <= len(y) + 1e-9


def test_named_shares_leave_the_rest_as_it_was():
    y = torch.tensor([0] * 2 + [1] * 4 + [2] * 2 + [3] * 2)
    shift = read_label_shift("a=0.5, 3=0.1", ("a", "b", "c", "d"))
    assert shift.target(y, 4, 0).tolist() == pytest.approx([0.5, 0.4 * 4 / 6, 0.4 * 2 / 6, 0.1])
    assert shift.name == "0=0.5,3=0.1"
    assert LabelShift(shares={1: 1.0}).target(y, 4, 0).tolist() == [0, 1, 0, 0]
    with pytest.raises(DataError, match="class 3 has no picture"):
        shift.target(y[:8], 4, 0)
    with pytest.raises(DataError, match="no other class"):
        LabelShift(shares={0: 0.5}).target(torch.zeros(3, dtype=torch.int64), 1, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dirichlet:0", "alpha=0.0; allowed: above 0"),
        ("dirichlet:x", "allowed: dirichlet:ALPHA"),
        ("dirichlet:nan", "alpha=nan"),
        ("a", "allowed: dirichlet:ALPHA"),
        ("a=1.5", "share 1.5 of class 0"),
        ("a=nan", "share nan of class 0"),
        ("a=0.6,1=0.6", "add up to 1.2"),
        ("a=0.1,0=0.1", "twice"),
        ("aa=0.1", "Did you mean 'a'"),
    ],
)
def test_refused_label_shifts_say_how(text, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        read_label_shift(text, ("a", "b"))


def test_draws_of_shares_repeat_and_differ_by_seed():
    y = torch.arange(20) % 4
    one, again, other = (LabelShift(alpha=1.0).target(y, 4, seed) for seed in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_weights_count_as_copies_do():
    draw = torch.Generator().manual_seed(1)
    logits, y = torch.randn(40, 3, generator=draw), torch.randint(0, 3, (40,), generator=draw)
    times = torch.randint(0, 4, (40,), generator=draw)
    weighted = uncertainty.intervals_of(uncertainty.answered(logits, y), weight=times, resamples=50)
    copied = uncertainty.intervals(logits.repeat_interleave(times, 0), y.repeat_interleave(times), resamples=50)
    for name in ("accuracy", "ece", "nll", "brier"):
        close(weighted[name].value, copied[name].value)
        assert weighted[name].low <= weighted[name].value <= weighted[name].high
    with pytest.raises(OptionError, match="not all 0"):
        uncertainty.intervals_of(uncertainty.answered(logits, y), weight=torch.zeros(40))


# The evaluation itself.


def test_figures_are_those_of_the_corrupted_pictures():
    pictures, model = grey(), Brightest()
    found = shifts(model, pictures, ["contrast", "gaussian-noise"], [2, 5], seed=4, resamples=20)
    assert [(one.name, one.severity) for one in found.corrupted] == [
        ("contrast", 2),
        ("contrast", 5),
        ("gaussian-noise", 2),
        ("gaussian-noise", 5),
    ]
    for one in found.corrupted:
        x = corrupted(pictures.x(), one.name, one.severity, seed=4, place=pictures.place)
        logits = model(cut(x) / 255).double()
        assert one.figures.accuracy.rate == uncertainty.accuracy(logits, pictures.labels)
        for name in ("ece", "nll", "brier"):
            expected = getattr(uncertainty, name)(logits, pictures.labels)
            assert getattr(one.figures, name).value == pytest.approx(expected, abs=1e-6)
    logits = model(pictures.x())
    assert found.clean.ece.value == pytest.approx(uncertainty.ece(logits, pictures.labels), abs=1e-9)
    assert found.errors.mce is None


def test_errors_that_are_known():
    """A model that is right on light pictures alone: brightness mends nothing of it, and shares of classes do."""
    pictures = grey(20)
    always = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    nn.init.zeros_(always[1].weight)
    always[1].bias.data = torch.tensor([0.0, 1.5])
    half = LabelShift(shares={1: 0.9})
    found = shifts(always, pictures, ["brightness", "fog"], label_shifts=[half], resamples=20)
    assert {one.figures.accuracy.k for one in found.corrupted} == {10}
    close(found.errors.mean, 0.5)
    close(found.labels[0].accuracy.value, 0.9)
    sure = torch.tensor([0.0, 1.5]).softmax(0)[1].item()
    assert found.labels[0].ece.value == pytest.approx(abs(sure - 0.9), abs=1e-6)
    assert found.clean.ece.value == pytest.approx(abs(sure - 0.5), abs=1e-6)


def test_a_stored_set_gives_the_same_figures(tmp_path):
    pictures, model = grey(), Brightest()
    names, levels = ["gaussian-noise", "fog", "elastic"], [1, 4]
    kept = stored.write(pictures, tmp_path / "set", [build(name) for name in names], levels, seed=5)
    here = shifts(model, pictures, names, levels, seed=5, resamples=20)
    there = shifts(model, pictures, stored=tmp_path / "set", severities=levels, seed=5, resamples=20)
    assert [one.to_plain() for one in here.corrupted] == [one.to_plain() for one in there.corrupted]
    some = shifts(model, pictures, ["fog"], [4], stored=kept, resamples=20)
    assert some.summary["options"]["seed"] == 5
    assert [(one.name, one.severity) for one in some.corrupted] == [("fog", 4)]
    with pytest.raises(DataError, match=r"made of 12 pictures of grey.*not of these 6"):
        shifts(model, pictures.take(slice(0, 6)), stored=kept)
    with pytest.raises(OptionError, match="Did you mean 'fog'"):
        shifts(model, pictures, ["fogg"], stored=kept)
    with pytest.raises(OptionError, match="not stored"):
        shifts(model, pictures, severities=[2], stored=kept)
    (tmp_path / "set" / "fog-4.npy").write_bytes(b"no")
    with pytest.raises(DataError, match="sha256"):
        shifts(model, pictures, stored=kept, severities=levels)


def test_batches_do_not_matter():
    pictures, model = grey(), Brightest().double()
    one, other = (shifts(model, pictures, ["frost"], [3], batch=size, resamples=20).corrupted for size in (5, 12))
    assert one == other


class Mortal(Brightest):
    """Dies after so many calls."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, x):
        self.calls -= 1
        if self.calls == 0:
            raise KeyboardInterrupt
        return super().forward(x)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    pictures = grey()
    wish = {"corruptions": ["fog", "snow"], "severities": [1, 5], "resamples": 20, "name": "b", "seed": 2}
    shifts(Brightest(), pictures, out=tmp_path / "whole", **wish)
    with pytest.raises(KeyboardInterrupt):
        shifts(Mortal(6), pictures, out=tmp_path / "cut", **wish)
    begun = sorted(path.name for path in (tmp_path / "cut/shifts/shards").iterdir())
    assert 0 < len(begun) < 5
    again = Mortal(100)
    shifts(again, pictures, out=tmp_path / "cut", resume=True, **wish)
    for path in (tmp_path / "whole/shifts").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes()
    with pytest.raises(RunError, match=r"seed was 2, now 3"):
        shifts(Brightest(), pictures, out=tmp_path / "cut", resume=True, **{**wish, "seed": 3})
    with pytest.raises(RunError, match="already holds a run"):
        shifts(Brightest(), pictures, out=tmp_path / "cut", **wish)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(RunError, match="not empty"):
        shifts(Brightest(), pictures, out=tmp_path / "other", **wish)


def test_a_baseline_of_other_pictures_is_refused_with_the_difference(tmp_path):
    pictures, model = grey(), Brightest()
    shifts(model, pictures, ["fog", "snow"], [1, 3], out=tmp_path / "base", resamples=20, seed=1)
    same = {"severities": [1, 3], "resamples": 20, "baseline": tmp_path / "base", "seed": 1}
    found = shifts(model, pictures, ["fog"], **same)
    assert found.summary["baseline"]["folder"] == "base"
    ours = [one.figures.accuracy for one in found.corrupted]
    if all(one.k == one.n for one in ours):
        assert found.errors.mce is None
    else:
        close(found.errors.mce, 1.0)
    for changed, said in [
        ({"seed": 2}, "seed: 1 there, 2 here"),
        ({"severities": [1, 2]}, r"severities of fog: \[1\] there, \[1, 2\] here"),
        ({"table": "imagenet"}, "table: 'small' there, 'imagenet' here"),
    ]:
        with pytest.raises(DataError, match=said):
            shifts(model, pictures, ["fog"], **{**same, **changed})
    with pytest.raises(DataError, match="data: "):
        shifts(model, grey(seed=1), ["fog"], **same)
    with pytest.raises(DataError, match="severities of frost"):
        shifts(model, pictures, ["frost"], **same)
    with pytest.raises(DataError, match="holds no finished run"):
        shifts(model, pictures, ["fog"], **{**same, "baseline": tmp_path})


def test_natural_shifts_are_taken_by_the_names_of_their_classes():
    pictures, model = grey(), Brightest()
    other = replace(grey(6, seed=3), name="elsewhere", labels=1 - grey(6).labels, classes=("light", "dark"))
    found = shifts(model, pictures, natural=[other], resamples=20)
    assert found.natural[0].figures.accuracy.k == 6
    assert found.errors is None
    light = replace(other.take(other.labels == 0), name="light alone")
    told = shifts(model, pictures, natural=[light], resamples=20)
    assert told.summary["options"]["natural"][0]["notes"] == ["no picture of dark"]
    with pytest.raises(DataError, match=r"unknown class 'dusk'; known: dark, light\..* Labels go by the names"):
        shifts(model, pictures, natural=[replace(other, classes=("light", "dusk"))])
    with pytest.raises(OptionError, match="twice"):
        shifts(model, pictures, natural=[other, other])


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"severities": [0]}, "severity=0"),
        ({"severities": [6]}, "severity=6"),
        ({"severities": []}, r"severities=\[\]"),
        ({"severities": [1, 1]}, r"severities=\[1, 1\]"),
        ({"corruptions": ["fogg"]}, "Did you mean 'fog'"),
        ({"corruptions": ["fog", "fog"]}, "each once"),
        ({"corruptions": ["saturate"]}, "1 channels"),
        ({"batch": 0}, "batch=0"),
    ],
)
def test_what_cannot_be_done_is_refused_first(wish, said):
    with pytest.raises(OptionError, match=said):
        shifts(Mortal(1), grey(), **{"corruptions": ["fog"], **wish})


def test_small_pictures_and_broken_models_are_refused():
    pictures = grey()
    small = replace(pictures, images=pictures.images[..., :7, :7])
    with pytest.raises(OptionError, match="from 8x8 up"):
        shifts(Brightest(), small, ["fog"])

    class Hazy(Brightest):
        def forward(self, x):
            return super().forward(x) * torch.where(x.flatten(1).std(1) < 0.01, torch.nan, 1.0)[:, None]

    with pytest.raises((DataError, ModelError), match="contrast 5: logits of"):
        shifts(Hazy(), pictures, ["contrast"], [5])


# Under attack.


def test_confidence_under_attack_is_that_of_the_picture_that_broke_it():
    columns = {
        "label": torch.tensor([0, 0, 0, 1]),
        "prediction": torch.tensor([0, 0, 0, 0]),
        "confidence_adv": torch.tensor([[0.9, 0.8, 0.7, 0.6], [0.5, 0.95, 0.55, 0.6]]),
        "success": torch.tensor([[True, False, False, False], [False, True, False, False]]),
        "broken": torch.tensor([[True, False, False, True], [True, True, False, True]]),
    }
    first, last = under_attack(columns, bins=1, resamples=20)
    close(first.confidence, (0.9 + 0.8 + 0.7 + 0.6) / 4)
    close(first.ece.value, abs(3.0 / 4 - 2 / 4))
    # Picture 0 was broken at the smaller radius only: with 0.9 it is wrong still.
    assert last.confidence == pytest.approx((0.9 + 0.95 + 0.55 + 0.6) / 4)
    assert last.ece.value == pytest.approx(abs(3.0 / 4 - 1 / 4))


def test_an_attack_is_told_beside():
    pictures, model = grey(), nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    model[1].weight.data = torch.stack([-torch.ones(64), torch.ones(64)]) / 16
    model[1].bias.data = torch.tensor([2.0, -2.0])
    attacked = evaluate.evaluate(model, pictures, Linf(eps=0.3), eps=[0.05, 0.3], checks=False)
    found = shifts(model, pictures, ["fog"], [1], attack=attacked, resamples=20)
    points = found.summary["attack"]["points"]
    assert [one["accuracy"]["k"] for one in points] == [point.robust.k for point in attacked.curve]
    assert points[1]["ece"]["value"] > points[0]["ece"]["value"]


# The command line and the page.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("shifts")
    plain("train --model mlp --data digits --epochs 2 --limit 400 --no-report --out", made / "m")
    return made


@pytest.fixture(scope="module")
def run(folder):
    some = "--corruptions fog,shot-noise --corruptions glass-blur:shuffle=swap --severity 1,4 --label-shift dirichlet:1"
    return plain(f"evaluate --model {folder}/m --data digits --limit 60 {some} --out", folder / "run")


def test_the_command_writes_a_run_and_a_page(run, folder):
    assert set(run) == {"run", "report", "seconds", "shifts"}
    assert run["shifts"] == read_object(folder / "run/shifts/summary.json")
    assert len(run["shifts"]["corrupted"]) == 6
    assert run["shifts"]["options"]["corruptions"]["glass-blur"] == {"shuffle": "swap"}
    page = (folder / "run/report.html").read_text()
    assert page == report.render([folder / "run"])
    assert "as pictures are corrupted, and as classes come in other shares." in page
    for text in ("glass-blur", "ECE by severity", "classes dirichlet:1", "An mCE needs a baseline"):
        assert text in page


def test_attack_and_shift_share_a_page(run, folder):
    line = f"evaluate --model {folder}/m --data digits --limit 60 --eps 0.02,0.1 --attack fgsm --no-checks"
    both = plain(f"{line} --corruptions all --severity 2,5 --out", folder / "both")
    assert both["shifts"]["attack"]["points"][1]["accuracy"]["k"] == both["curve"][1]["robust"]["k"]
    assert both["shifts"]["errors"]["complete"]
    page = (folder / "both/report.html").read_text()
    for text in ("ECE under attack", "ECE by severity", "Robust accuracy against radius"):
        assert text in page
    assert "(ECE): as pictures are corrupted and attacked." in page
    again = plain(f"{line} --corruptions all --severity 2,5 --resume --out", folder / "both")
    assert again["shifts"] == both["shifts"]
    compared = report.render([folder / "run", folder / "both"])
    assert "These runs differ in the corruptions, the severities" in compared


def test_baseline_ensembles_and_recalibrated_models_are_evaluated_alike(run, folder):
    plain(f"calibrate --model {folder}/m --data digits --limit 60 --out", folder / "cool")
    plain("train --model mlp --data digits --epochs 2 --limit 400 --seed 1 --no-report --out", folder / "other")
    plain(f"ensemble {folder}/m {folder}/other --out", folder / "joined")
    levels = "--data digits --limit 60 --corruptions fog --severity 1,4 --no-report"
    for name in ("cool", "joined"):
        found = plain(f"evaluate --model {folder}/{name} {levels} --baseline {folder}/run --out", folder / f"r-{name}")
        assert found["shifts"]["errors"]["mce"] > 0
        assert found["shifts"]["clean"]["accuracy"]["n"] == 60
    cool = read_object(folder / "r-cool/shifts/summary.json")
    assert cool["errors"]["mce"] == 1.0  # temperature changes no prediction
    assert cool["clean"]["nll"]["value"] != run["shifts"]["clean"]["nll"]["value"]


def test_a_folder_of_pictures_is_a_natural_shift(folder, tmp_path):
    test = data.load("digits", "test", limit=8)
    for row, label in enumerate(test.labels.tolist()):
        (tmp_path / "wild" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.images[row, 0].repeat_interleave(2, 0).repeat_interleave(2, 1).numpy()).save(
            tmp_path / "wild" / str(label) / f"{row}.png"
        )
    line = f"evaluate --model {folder}/m --data digits --limit 60 --shifted {tmp_path / 'wild'} --out"
    found = plain(line, tmp_path / "run")
    assert found["shifts"]["natural"][0]["accuracy"]["n"] == 8
    assert found["shifts"]["errors"] is None
    page = (tmp_path / "run/report.html").read_text()
    assert "wild" in page
    assert "(ECE): as pictures come from elsewhere." in page
    assert "Severities" not in page


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "neither --eps nor --corruptions"),
        ("--corruptions fogg", "Did you mean 'fog'"),
        ("--corruptions all,fog", "all alone"),
        ("--corruptions fog,glass-blur:shuffle=swop", "swop"),
        ("--corruptions glass-blur:shuffle=swap,fogg", "unknown corruption 'fogg'"),
        ("--corruptions fog:thickness=3", "unknown option of Fog 'thickness'; there is none. Leave it out."),
        ("--corruptions fog --severity 6", "severity=6"),
        ("--severity 3 --eps 0.1", "--severity without --corruptions"),
        ("--baseline x --eps 0.1", "--baseline without --corruptions"),
        ("--corruptions fog --attack pgd", "--attack without --eps"),
        ("--corruptions fog --at-least 0.5", "--at-least without --eps"),
        ("--corruptions fog --eps 0.1 --shard 1/2", "whole run"),
        ("--corruptions fog --table cifar", "unknown table of severities"),
        ("--corrupted x --table small", "--table with --corrupted"),
        ("--label-shift x=1", "unknown class 'x'"),
    ],
)
def test_refused_with_one_line(folder, tmp_path, flags, said):
    result = call(f"evaluate --model {folder}/m --data digits --limit 20 {flags} --out", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_page_refuses_what_is_unfinished_or_damaged(run, folder, tmp_path):
    (tmp_path / "shifts").mkdir()
    (tmp_path / "shifts/run.json").write_text("{}")
    with pytest.raises(RunError, match="no finished run under shift"):
        report.render([tmp_path])
    (tmp_path / "shifts/summary.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match="damaged"):
        report.render([tmp_path])
    (tmp_path / "shifts/summary.json").write_text('{"format": 0}')
    with pytest.raises(RunError, match="format 0"):
        report.render([tmp_path])


def test_curves_show_median_and_range(run):
    from holdfast.report.shift import ShiftRun

    cells = [
        {"name": name, "severity": 1, "accuracy": {"rate": rate}}
        for name, rate in (("fog", 0.2), ("snow", 0.9), ("jpeg", 0.7))
    ]
    made = {"clean": {"accuracy": {"rate": 1.0}}, "corrupted": cells, "options": {"severities": [1]}}
    drawn = severity_curve([ShiftRun("a", 0, made)], "accuracy")
    assert "a: 70 % at 1" in drawn

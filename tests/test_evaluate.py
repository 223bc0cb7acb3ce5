"""The evaluation's figures, counted again by hand."""

import csv
import io
import json

import pytest
import torch
from torch import nn

from evaluate_models import digits, honest
from holdfast import attacks, threats
from holdfast.attacks import FGSM, PGD
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.evaluate import SUITES, Rate, evaluate, suite
from holdfast.evaluate import batch as batches
from holdfast.evaluate.checks import SAMPLE_CHECKS
from holdfast.evaluate.summary import eps_text
from holdfast.threats import L0, L1, L2, Linf

ATTACK = PGD(steps=5, step_size=0.4)
EPS = (0.02, 0.06, 0.12)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluate") / "run"
    pictures = digits().take(slice(0, 100))
    return evaluate(
        honest("cnn"), pictures, Linf(eps=0.1), ATTACK, eps=EPS, batch=50, shard_size=40, out=out, name="my cnn"
    )


def test_clean_is_plain_accuracy(found):
    right = honest("cnn")(digits().x(slice(0, 100))).argmax(1) == digits().labels[:100]
    assert found.clean == Rate(int(right.sum()), 100)
    assert 80 < found.clean.k < 100


def test_robust_is_what_the_attack_leaves(found):
    x, y = digits().x(slice(0, 100)), digits().labels[:100]
    broken = torch.zeros(100, dtype=torch.bool)
    for eps, point in zip(EPS, found.curve):
        ran = attacks.run(ATTACK, honest("cnn"), x, y, Linf(eps=eps), batch=50, picture=digits().place[:100])
        wrong_now = honest("cnn")(ran.x_adv).argmax(1) != y
        broken |= wrong_now
        assert point.own == Rate(100 - int(wrong_now.sum()), 100)
        assert point.robust == Rate(100 - int(broken.sum()), 100)
        assert point.robust_8bit.k >= point.robust.k
    assert found.robust == found.curve[-1].robust
    assert found.clean.k > found.curve[0].robust.k > found.curve[-1].robust.k


def test_records_per_picture(found):
    records = found.records
    wrong = records["prediction"] != records["label"]
    assert wrong.any()
    assert records["index"].tolist() == digits().place[:100].tolist()
    assert records["step"].shape == (3, 100)
    assert (records["step"][:, wrong] == 0).all()
    assert (records["size"][:, wrong] == 0).all()
    assert records["success"][:, wrong].all()
    assert (records["step"] == -1).equal(~records["success"])
    assert torch.equal(records["broken"], records["success"].cumsum(0).bool())
    assert (records["forward"][:, wrong] == 1).all()
    assert int(records["forward"].sum()) == found.passes["forward"]
    assert int(records["counted"][:, 0].sum()) == found.passes["forward"]


def test_pictures_broken_at_a_smaller_radius_stay_broken():
    """A model that only a small perturbation of the right size can fool."""

    class Band(nn.Module):
        def forward(self, x):
            moved = (x.flatten(1) - 0.5).abs().amax(1)
            fooled = ((moved > 0.01) & (moved < 0.06)).float()
            return torch.stack([1 - fooled, fooled], 1) + 0 * x.flatten(1)[:, :1]

    pictures = Pictures.from_arrays(torch.full((8, 1, 2, 2), 0.5), torch.zeros(8, dtype=torch.int64))
    made = evaluate(Band(), pictures, Linf(eps=0.05), attacks.Noise(tries=5), eps=[0.05, 0.4], checks=False)
    assert (made.curve[0].own.k, made.curve[0].robust.k) == (0, 0)
    assert (made.curve[1].own.k, made.curve[1].robust.k) == (8, 0)
    assert made.robust.k == 0
    assert made.summary["confusion"]["after"] == [[0, 8], [0, 0]]


def test_summary_counts_by_class_and_confusion(found):
    summary, records = found.summary, found.records
    label, prediction, broken = records["label"], records["prediction"], records["broken"][-1]
    for number, row in enumerate(summary["per_class"]):
        these = label == number
        assert row["class"] == digits().classes[number]
        assert row["n"] == int(these.sum())
        assert row["clean"] == int((these & (prediction == label)).sum())
        assert row["robust"] == int((these & ~broken).sum())
    before, after = (torch.tensor(summary["confusion"][name]) for name in ("before", "after"))
    assert before.sum() == after.sum() == 100
    assert before.diagonal().sum() == found.clean.k
    assert after.diagonal().sum() == found.robust.k
    assert torch.equal(before.sum(1), after.sum(1))


def test_summary_file_is_what_is_returned(found):
    summary = json.loads((found.run / "summary.json").read_text())
    assert summary == found.summary
    assert set(summary["robust"]) == {"k", "n", "rate", "low", "high"}
    assert [point["eps_text"] for point in summary["curve"]] == ["0.02", "0.06", "0.12"]
    assert summary["model"]["name"] == "my cnn"
    assert summary["model"]["parameters"] == sum(p.numel() for p in honest("cnn").parameters())
    sizes = found.records["size"][-1][found.records["success"][-1] & (found.records["step"][-1] > 0)]
    assert summary["curve"][-1]["size"]["median"] == pytest.approx(float(sizes.quantile(0.5)))
    plain = found.to_plain()
    assert {"clean", "robust", "checks", "passes", "seconds", "run"} <= set(plain)
    json.dumps(plain, allow_nan=False)


def test_records_csv_has_a_row_a_picture_and_radius(found):
    rows = list(csv.DictReader(io.StringIO((found.run / "records.csv").read_text())))
    assert len(rows) == 300
    assert [row["eps"] for row in rows[:3]] == ["0.02", "0.06", "0.12"]
    for i in (0, 37, 99):
        row = rows[3 * i + 2]
        assert int(row["index"]) == found.records["index"][i]
        assert float(row["size"]) == float(found.records["size"][2, i])
        assert int(row["broken"]) == int(found.records["broken"][2, i])
        assert torch.tensor(float(row["confidence"])) == found.records["confidence"][i]


def test_batch_size_changes_no_verdict(found):
    pictures = digits().take(slice(0, 100))
    other = evaluate(honest("cnn"), pictures, Linf(eps=0.1), ATTACK, eps=EPS, batch=13, shard_size=40, checks=False)
    for name in ("prediction", "broken", "label"):
        assert torch.equal(other.records[name], found.records[name])


def test_a_limit_changes_no_picture_that_is_left(found):
    fewer = evaluate(
        honest("cnn"), digits().take(slice(40, 80)), Linf(eps=0.1), ATTACK, eps=EPS, batch=50, checks=False
    )
    assert torch.equal(fewer.records["broken"], found.records["broken"][:, 40:80])


def test_several_attacks_are_run_in_a_row():
    pictures = digits().take(slice(0, 60))
    alone = evaluate(honest("mlp"), pictures, Linf(eps=0.08), FGSM(), checks=False)
    both = evaluate(honest("mlp"), pictures, Linf(eps=0.08), [FGSM(), ATTACK], checks=False)
    assert both.robust.k <= alone.robust.k
    assert both.summary["attack"]["name"] == "fgsm+pgd"
    assert [options["name"] for options in both.summary["attack"]["options"]] == ["fgsm", "pgd"]


def test_the_default_attack_is_the_quick_suite():
    assert suite("quick") is SUITES["quick"]
    made = evaluate(honest("linear"), digits().take(slice(0, 8)), L2(eps=0.3), checks=False)
    assert made.summary["attack"]["name"] == "pgd"
    assert made.summary["attack"]["options"]["steps"] == 40
    assert made.summary["threat"] == {"name": "l2", "eps": [0.3], "eps_text": ["0.3"], "low": 0.0, "high": 1.0}


def test_linear_model_gives_up_at_its_margin():
    """Exact: Linf breaks a linear model iff eps exceeds margin / 1-norm of the difference of weights."""
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, dtype=torch.float64))
    with torch.no_grad():
        model[1].weight.normal_(generator=generator)
        model[1].bias.normal_(generator=generator)
    x = 0.3 + 0.4 * torch.rand(30, 1, 4, 4, generator=generator)
    logits = model(x.double()).detach()
    y = logits.argmax(1)
    weight = model[1].weight.detach()
    radius = (logits[:, 0] - logits[:, 1]).abs() / (weight[0] - weight[1]).abs().sum()
    eps = [float(radius.quantile(q)) for q in (0.2, 0.7)]
    pictures = Pictures.from_arrays(x, y, classes=["a", "b"])
    made = evaluate(model, pictures, Linf(eps=0.1), PGD(steps=20, loss="margin"), eps=eps, checks=False)
    for point, e in zip(made.curve, eps):
        assert point.robust.k == int((radius > e).sum())
    assert made.records["size"].dtype == torch.float64


def test_eps_zero_is_clean_accuracy():
    made = evaluate(honest(), digits().take(slice(0, 40)), Linf(eps=0.1), ATTACK, eps=[0.0, 0.1], checks=False)
    assert made.curve[0].robust == made.clean
    assert made.curve[0].size is None


def test_model_is_given_back_as_found():
    model = nn.Sequential(honest("mlp"), nn.Dropout(0.3))
    model.train()
    model[0].eval()
    evaluate(model, digits().take(slice(0, 10)), Linf(eps=0.1), ATTACK)
    assert [model.training, model[0].training, model[1].training] == [True, False, True]
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not model._forward_hooks


def test_progress_is_told():
    seen = []

    class Listener:
        def update(self, done_pictures, total, text):
            seen.append((done_pictures, total, text))

    pictures = digits().take(slice(0, 40))
    evaluate(honest(), pictures, Linf(eps=0.1), ATTACK, eps=EPS, shard_size=20, batch=8, progress=Listener())
    assert {total for _, total, _ in seen} == {40}
    done = [pictures for pictures, _, _ in seen]
    assert done == sorted(done)
    assert len(set(done)) > 6  # not only where shards end
    by_text = {text: pictures for pictures, _, text in reversed(seen)}
    assert list(reversed(by_text.items())) == [
        *((f"checking {check.name}", 0) for check in SAMPLE_CHECKS),
        ("attacking shard 1 of 2", 0),
        ("attacking shard 2 of 2", 20),
        ("done", 40),
    ]


@pytest.mark.parametrize(
    ("eps", "norm", "text"),
    [
        (8 / 255, "linf", "8/255"),
        (0.1, "linf", "0.1"),
        (0.2, "linf", "0.2"),
        (51 / 255, "linf", "0.2"),
        (0.123456789, "linf", "0.123457"),
        (8 / 255, "l2", "0.0313725"),
        (3.0, "l0", "3"),
    ],
)
def test_radii_are_written_as_people_write_them(eps, norm, text):
    assert eps_text(eps, norm) == text


# The batch size


class Clock:
    """Time that passes with the pictures that the model has seen, at a pace that depends on their number."""

    def __init__(self, seconds):
        self.now, self.seconds, self.asked = 0.0, seconds, []

    def model(self, x):
        self.now += self.seconds[len(x)]
        self.asked.append(len(x))
        return x.flatten(1)[:, :2]

    def __call__(self):
        return self.now


def many(n):
    return Pictures.from_arrays(torch.zeros(n, 1, 2, 2, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64))


def test_the_batch_of_least_time_a_picture_is_chosen():
    clock = Clock({64: 1.0, 128: 1.5, 250: 2.0, 500: 5.0})
    assert batches.choose(clock.model, many(6000), 40, torch.float32, clock) == 250
    assert sum(clock.asked) == 4 * (64 + 128 + 250 + 500) <= batches.SHARE * 6000 * 40


def test_nothing_is_measured_where_it_does_not_pay():
    clock = Clock({})
    assert batches.choose(clock.model, many(600), 40, torch.float32, clock) == batches.DEFAULT
    assert batches.choose(clock.model, many(60), 10**6, torch.float32, clock) == batches.DEFAULT
    assert clock.asked == []


def test_a_batch_that_does_not_fit_into_memory_is_left_out():
    clock = Clock({64: 1.0, 128: 1.5, 250: 9.0})

    def model(x):
        if len(x) == 500:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return clock.model(x)

    assert batches.choose(model, many(6000), 40, torch.float32, clock) == 128

    def wrong(x):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        batches.choose(wrong, many(6000), 40, torch.float32, clock)


def test_all_threats_can_be_evaluated():
    for name, eps in {"linf": 0.1, "l2": 0.5, "l1": 2.0, "l0": 3.0}.items():
        threat = threats.build(name, eps=eps)
        made = evaluate(honest(), digits().take(slice(0, 20)), threat, ATTACK, checks=False)
        assert made.robust.k <= made.clean.k
        assert {c.name: c.verdict for c in made.checks}["verified"] == "pass"


@pytest.mark.gpu
def test_a_gpu_gives_the_same_verdicts():
    import copy

    pictures = digits().take(slice(0, 60))
    here = evaluate(honest("cnn"), pictures, Linf(eps=0.1), ATTACK)
    there = evaluate(copy.deepcopy(honest("cnn")).cuda(), pictures, Linf(eps=0.1), ATTACK)
    assert (here.records["broken"] != there.records["broken"]).sum() <= 1
    assert there.believe


def test_a_random_model_has_one_clean_answer():
    class Noisy(nn.Module):
        def forward(self, x):
            return honest("mlp")(x) + 3 * torch.randn(len(x), 10)

    found = evaluate(Noisy(), digits().take(slice(0, 60)), Linf(eps=0.1), ATTACK, eps=[0.02, 0.1], checks=False)
    right = found.records["prediction"] == found.records["label"]
    assert found.clean.k == int(right.sum())
    for place, point in enumerate(found.curve):
        assert point.robust.k == int((right & ~found.records["broken"][place]).sum())
        assert point.robust.k <= found.clean.k


@pytest.mark.parametrize("attack", ["pgd", [PGD(), "fgsm"], [PGD]])
def test_attacks_are_no_names(attack):
    with pytest.raises(OptionError, match=r"attack=.*allowed: an attack, such as"):
        evaluate(honest("mlp"), digits().take(slice(0, 9)), Linf(eps=0.1), attack)


def test_which_attack_broke_a_picture_is_on_record(tmp_path):
    pictures, weak = digits().take(slice(0, 60)), PGD(steps=2, step_size=0.3, random_start=False)
    row = [weak, FGSM(), weak]
    found = evaluate(honest("mlp"), pictures, Linf(eps=0.08), row, out=tmp_path, checks=False, batch=16)
    (by,) = (point["by"] for point in found.summary["curve"])
    assert [entry["attack"] for entry in by] == ["pgd (1)", "fgsm", "pgd (2)"]
    assert sum(entry["broken"] for entry in by) == found.clean.k - found.robust.k
    alone = evaluate(honest("mlp"), pictures, Linf(eps=0.08), weak, checks=False)
    assert 0 < by[0]["broken"] <= alone.clean.k - alone.robust.k  # those that share a batch with FGSM may go to it
    assert by[1]["broken"] > 0
    assert by[2] == {"attack": "pgd (2)", "broken": 0, "forward": None, "backward": None}
    assert by[0]["backward"] < by[1]["backward"]
    lines = list(csv.DictReader((tmp_path / "records.csv").read_text().splitlines()))
    assert sum(line["attack"] == "fgsm" for line in lines) == by[1]["broken"]
    assert {line["attack"] for line in lines if line["broken"] == "0"} == {""}


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5), L1(eps=3.0)], ids=lambda threat: threat.name)
def test_the_standard_suite_has_its_form_for_each_norm(threat):
    names = [attack.name for attack in suite("standard").within(threat)]
    assert names == ["apgd", "apgd-t", "fab-t", "square"]
    first, second, third, fourth = suite("standard").within(threat)
    assert (first.steps, second.steps, third.steps, fourth.queries) == (100, 100, 100, 5000)
    assert (first.restarts, second.targets_tried, third.targets_tried) == ((5, 5, 5) if threat.sparse else (1, 9, 9))
    assert first.larger_radii == second.larger_radii == threat.sparse


def test_the_standard_suite_has_no_form_for_l0():
    with pytest.raises(OptionError, match="suite 'standard': threat 'l0'; allowed: linf, l2, l1"):
        suite("standard").within(L0(eps=3))


@pytest.mark.slow
@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.5), L1(eps=3.0)], ids=lambda threat: threat.name)
def test_the_standard_suite_breaks_what_pgd_breaks(threat):
    pictures = digits().take(slice(0, 40))
    standard = evaluate(honest("hardened mlp"), pictures, threat, suite("standard").within(threat))
    quick = evaluate(honest("hardened mlp"), pictures, threat)
    assert standard.robust.k <= quick.robust.k
    assert standard.believe, standard.because

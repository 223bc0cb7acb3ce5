"""Thresholds, the gradient's norm, fitted detectors as folders, and both columns of their worth."""

import csv
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn

import detecting
from command_line import call, done, plain, refused
from holdfast import attacks, data, detect, evaluate, models, threats, train
from holdfast.cli import judged as judged_command
from holdfast.cli.fitted import doubts
from holdfast.detect.threshold import threshold
from holdfast.errors import DataError, ModelError, OptionError, RunError
from holdfast.evaluate import detection, provenance
from holdfast.evaluate.judge import Found, Judge
from holdfast.evaluate.judged_files import JudgedFiles
from holdfast.models.guarded import Guarded
from holdfast.report.detection import KIND, points
from nets import linear

# Thresholds.


@given(st.floats(0.02, 0.9), st.integers(1, 300), st.integers(0, 2**31))
def test_no_more_pictures_than_asked_for_are_above_a_threshold(rate, n, seed):
    values = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    least = math.ceil(1 / rate - 1e-9) - 1
    if n < least:
        with pytest.raises(DataError, match=f"allowed: {least} or more"):
            threshold(values, rate)
        return
    found = threshold(values, rate)
    above = int((values.double() > found.value).sum())
    assert above + 1 <= rate * (n + 1) + 1e-6  # k - 1 of n, so that of n + 1 at most k are
    assert above + 2 > rate * (n + 1) - 1e-6


def test_false_alarms_keep_to_the_rate_on_pictures_to_come():
    generator = torch.Generator().manual_seed(0)
    alarms = [
        float(
            (torch.randn(200, generator=generator) > threshold(torch.randn(99, generator=generator), 0.05).value).sum()
        )
        for _ in range(300)
    ]
    assert abs(sum(alarms) / (300 * 200) - 0.05) < 0.005


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_that_are_none_are_refused(rate):
    with pytest.raises(OptionError, match="between 0 and 1"):
        threshold(torch.arange(100.0), rate)


def test_suspicion_that_is_no_number_is_refused():
    with pytest.raises(ModelError, match="2 of 3 clean pictures is NaN or infinite"):
        threshold(torch.tensor([1.0, torch.nan, torch.inf]), 0.5)


# The gradient's norm.


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_norm_is_that_of_the_loss_at_the_predicted_label(norm):
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = linear(weight)
    logits, found = detect.GradientNorm(norm=norm).outline(model, (1, 2, 2))(model, x)
    p = logits.softmax(1)
    gradient = (p - nn.functional.one_hot(logits.argmax(1), 3)) @ weight
    expected = gradient.abs().sum(1) if norm == "l1" else gradient.norm(dim=1)
    torch.testing.assert_close(found, expected.log())
    with torch.no_grad():
        assert torch.equal(detect.GradientNorm(norm=norm).outline(model, (1, 2, 2))(model, x)[1], found)
    assert not found.requires_grad


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_double_backward_and_differences_agree_on_its_slope(norm):
    model, x = detecting.doubled(), detecting.smooth_at(6)
    exact, close = (
        detecting.slope(detect.GradientNorm(norm=norm, slope=slope, h=h).outline(model, (1, 8, 8)), model, x)
        for slope, h in (("double-backward", None), ("differences", 1e-4))
    )
    error = (exact - close).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert error.median() < 0.02
    both = [
        detecting.suspected(detect.GradientNorm(norm=norm, slope=slope).outline(model, (1, 8, 8)), model, x)
        for slope in ("double-backward", "differences")
    ]
    assert torch.equal(*both)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_norm_by_differences_is_that_of_a_backward_pass(norm):
    model, x = detecting.doubled(), detecting.smooth_at(12)
    exact, close = (
        made.outline(model, (1, 8, 8))
        for made in (detect.GradientNorm(norm=norm), detect.GradientNorm(norm=norm, by="differences", h=1e-5))
    )
    assert (exact.gradient, close.gradient) == ("exact", "differences")
    apart = detecting.suspected(exact, model, x) - detecting.suspected(close, model, x)
    assert float(apart.abs().median()) < 1e-3
    assert not torch.equal(detecting.suspected(exact, model, x), detecting.suspected(close, model, x))
    ways = [detecting.slope(found, model, x).flatten(1) for found in (exact, close)]
    assert ((ways[0] - ways[1]).norm(dim=1) / ways[0].norm(dim=1)).median() < 0.02


def test_the_norm_by_differences_is_a_detector_like_any_other():
    made = detecting.fitted("gradient-norm", {"by": "differences"})
    clean, adversarial = detecting.attacked()
    assert detecting.separation(made.model.suspicion, made.model.model, clean, adversarial) > 0.6
    pictures = detecting.held_out()
    broken, taken = detecting.evaded(made.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * taken
    detecting.check_restored(made.detector, made.model.suspicion, made.model.model, pictures)
    detecting.check_split(made.model.suspicion, made.model.model, pictures.x())


def test_its_slope_is_the_derivative():
    model = detecting.doubled()
    detecting.check_slope(detect.GradientNorm().outline(model, (1, 8, 8)), model, detecting.smooth_at(6), h=1e-7)


def test_a_flat_loss_has_a_suspicion_and_a_slope_that_are_finite():
    model = linear(torch.zeros(3, 4, dtype=torch.float64))
    x = torch.rand(2, 1, 2, 2, dtype=torch.float64)
    found = detect.GradientNorm().outline(model, (1, 2, 2))
    assert found(model, x)[1].isfinite().all()
    assert detecting.slope(found, linear(torch.eye(3, 4, dtype=torch.float64) * 1e3), x).isfinite().all()


@pytest.mark.parametrize("slope", ["double-backward", "differences"])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_sure_model_has_the_norm_of_float64_and_a_slope_that_is_finite_in_float32(norm, slope):
    """At logits 18 apart 1 - p rounds to 0, at 60 the squares of gradients do, and at 300 the gradients themselves."""
    x = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for apart, value in ((18.0, True), (60.0, True), (300.0, False)):
        bias = torch.tensor([apart, 0.0, 0.0])
        weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
        found = detect.GradientNorm(norm=norm, slope=slope).outline(linear(weight, bias), (1, 2, 2))
        close = detecting.suspected(found, linear(weight, bias), x).double()
        others = (x.flatten(1).double() @ weight.double().T + bias.double()).softmax(1)[:, 1:]
        exact = (others @ (weight[1:] - weight[:1]).double()).norm(dim=1, p=int(norm[1])).log()
        assert not value or float((close - exact).abs().max()) < 0.02, apart
        assert detecting.slope(found, linear(weight, bias), x).isfinite().all(), apart


def test_a_classifier_without_a_gradient_is_told():
    class Cut(nn.Module):
        """Answers without saying how it came to that."""

        def forward(self, x):
            return x.detach().flatten(1)[:, :10]

    with pytest.raises(ModelError, match="no gradient comes back through Cut; allowed: a classifier"):
        detecting.fitted("gradient-norm", model=Cut())


def test_it_finds_attacks_and_falls_to_who_knows_it():
    made = detecting.fitted("gradient-norm")
    clean, adversarial = detecting.attacked()
    assert detecting.separation(made.model.suspicion, made.model.model, clean, adversarial) > 0.6
    pictures = detecting.held_out()
    broken, taken = detecting.evaded(made.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * taken
    detecting.check_restored(made.detector, made.model.suspicion, made.model.model, pictures)
    detecting.check_split(made.model.suspicion, made.model.model, pictures.x())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"norm": "l3"}, "allowed: one of l2, l1"),
        ({"slope": "none"}, "allowed: one of double-backward, differences"),
        ({"slope": "differences", "h": 0.0}, "allowed: above 0"),
        ({"h": 0.01}, "allowed: none with slope=double-backward"),
        ({"by": "guess"}, "allowed: one of backward, differences"),
        ({"by": "differences", "slope": "double-backward"}, "allowed: differences with by=differences"),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        detect.GradientNorm(**options)


def test_the_usual_step_of_differences_is_a_hundredth():
    model, x = detecting.doubled(), detecting.smooth_at(2)
    usual, same, other = (
        detecting.slope(detect.GradientNorm(slope="differences", h=h).outline(model, (1, 8, 8)), model, x)
        for h in (None, 0.01, 0.02)
    )
    assert torch.equal(usual, same)
    assert not torch.equal(usual, other)


# Fitted detectors.


def test_half_of_the_clean_pictures_are_as_far_from_refusal_as_from_another_class():
    made = detecting.fitted("entropy")
    with torch.no_grad():
        logits = made.model.eval()(detecting.held_out().x())
    first, second = logits[:, :10].topk(2, dim=1).values.unbind(1)
    assert float(-logits[:, 10].median()) == pytest.approx(float((first - second).median()), rel=1e-3)
    assert made.misclassified == int((logits[:, :10].argmax(1) != detecting.held_out().labels).sum())


def test_a_detector_is_not_fitted_on_what_its_threshold_is_from():
    with pytest.raises(DataError, match="were fitted on as well"):
        detect.fit(detect.GradientNorm(), detecting.trained(), detecting.training(), detecting.training())


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "between 0 and 1"), (float("nan"), "between 0 and 1"), (1e-4, "allowed: 9999 or more")]
)
def test_a_rate_is_refused_before_anything_is_fitted(rate, text, monkeypatch):
    monkeypatch.setattr(detect.GradientNorm, "fit", lambda *given, **options: pytest.fail("it was fitted"))
    with pytest.raises((OptionError, DataError), match=text):
        detect.fit(
            detect.GradientNorm(),
            detecting.trained(),
            detecting.training(),
            detecting.held_out(),
            false_alarms=rate,
        )


def test_a_guarded_model_is_not_guarded_again():
    made = detecting.fitted("entropy")
    with pytest.raises(ModelError, match=r"guarded already.*folder classifier/"):
        detect.fit(detect.GradientNorm(), made.model, detecting.training(), detecting.held_out())


def test_a_detector_that_learnt_nothing_says_so(monkeypatch, classifier, tmp_path):
    assert not detecting.fitted("entropy").blind
    monkeypatch.setattr(
        "holdfast.uncertainty.scores.Entropy.score", lambda self, batch: batch.logits.double()[:, 0] * 0
    )
    shown = done(f"detect fit --model {classifier} --data digits --detector entropy --out {tmp_path / 'guard'}")
    assert "warning: entropy says the same of 144 of 144 clean pictures: it learnt nothing" in shown.stderr
    learnt_nothing = "entropy says the same of 144 of 144 clean pictures: it learnt nothing"
    line = f"detect evaluate --model {tmp_path / 'guard'} --data digits --split validation -n 9 --eps 0.5 --attack pgd"
    told = done(line, "--no-report", "--quiet", "--json", "--out", tmp_path / "run")
    on_threshold, blind = json.loads(told.stdout)["warnings"]
    assert (on_threshold[:41], blind) == ("thresholds are from validation pictures, ", learnt_nothing)
    assert told.stderr == ""


@pytest.mark.parametrize(("alike", "blind"), [(101, False), (102, True), (200, True)])
def test_what_rounding_tells_apart_is_learnt_no_more(alike, blind):
    made = detecting.fitted("entropy")
    clean = made.threshold.value - torch.arange(202.0)
    clean[:alike] = made.threshold.value
    assert replace(made, clean=clean).alike == alike
    assert replace(made, clean=clean).blind == blind


@pytest.mark.parametrize(("wrong", "doubted"), [(101, False), (102, True)])
def test_a_classifier_that_is_mostly_wrong_is_doubted(wrong, doubted):
    made = detecting.fitted("entropy")
    texts = doubts(replace(made, threshold=replace(made.threshold, n=202), misclassified=wrong))
    said = [
        f"the classifier gets {wrong} of 202 clean pictures wrong: it may have been trained on other data than these"
    ]
    assert texts == said * doubted


def test_a_classifier_of_other_data_is_told_of(tmp_path):
    card = train.card_for("linear", data.load("digits", "train", limit=10))
    models.save(tmp_path / "untrained", card.build(seed=0), card)
    line = f"detect fit --model {tmp_path / 'untrained'} --data digits --out {tmp_path / 'guard'}"
    assert "clean pictures wrong: it may have been trained on other data" in done(line).stderr


def test_unknown_detectors_are_refused():
    with pytest.raises(OptionError, match="Did you mean 'gradient-norm'"):
        detect.detector("gradient-nrom")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model folder."""
    out = tmp_path_factory.mktemp("detect") / "plain"
    pictures = data.load("digits", "train", limit=500)
    recipe = train.Recipe(options=train.TrainOptions(epochs=6, batch=50))
    train.train(train.card_for("mlp", pictures, {"hidden": "16"}), pictures, recipe=recipe, out=out)
    return out


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    """A guarded model, as the command writes it."""
    out = tmp_path_factory.mktemp("guard") / "guard"
    told = plain(f"detect fit --model {classifier} --data digits --detector mahalanobis --out {out}")
    assert (told["n"], told["detector"]["name"], told["warnings"]) == (144, "mahalanobis", [])
    return out


def test_a_folder_gives_the_same_guarded_model_anywhere(folder, classifier):
    opened = evaluate.open_model(str(folder), shape=(1, 8, 8), classes=10)
    assert isinstance(opened.model, Guarded)
    assert opened.card.architecture == "mlp"
    x = data.load("digits", "test").x()
    again = detect.load(folder, models.load(folder / "classifier")[0]).model
    with torch.no_grad():
        assert torch.equal(opened.model(x), again(x))
    plain_answer = models.load(classifier)[0](x).argmax(1)
    said = opened.model(x)
    answered = said.argmax(1) != 10
    assert torch.equal(said.argmax(1)[answered], plain_answer[answered])
    assert 0 < int((~answered).sum()) < 60


def test_commands_take_a_guarded_model_or_say_what_they_want(folder, tmp_path):
    refusing = f"--model {folder} --data digits"
    done(f"evaluate {refusing} -n 60 --eps 0.4 --attack pgd --out {tmp_path / 'evaluated'}")
    about = json.loads((tmp_path / "evaluated" / "summary.json").read_text())
    assert about["model"]["refused"] == 10
    assert about["clean"]["k"] < 60
    assert "refused" in (tmp_path / "evaluated" / "report.html").read_text()
    shown = done(f"attack {refusing} -n 60 --eps 0.4 --attack pgd --set steps=3 --out {tmp_path / 'attacked'}").stdout
    assert "refused (" in shown
    assert "class 10" not in shown
    found = plain(f"calibrate {refusing} --method none --out {tmp_path / 'measured'}")
    assert found["before"]["accuracy"] < 1
    _, text = refused(f"ood {refusing} --quiet --against noise:uniform --out {tmp_path / 'never'}")
    assert "is guarded by a detector; allowed: its classifier alone" in text


def test_what_a_folder_should_not_be_is_refused(folder, classifier, tmp_path):
    other = models.load(classifier)[0]
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(ModelError, match="fitted beside another classifier"):
        detect.load(folder, other)
    with pytest.raises(ModelError, match=r"fitted on pictures of shape \(1, 8, 8\), these are \(1, 28, 28\)"):
        evaluate.open_model(str(folder), shape=(1, 28, 28), classes=10)
    with pytest.raises(OptionError, match="neither weights nor options"):
        evaluate.open_model(str(folder), tmp_path / "w.safetensors")
    for change, text in (({"format": 2}, "has format 2"), ({"threshold": None}, "no whole guarded model")):
        broken = tmp_path / text.split()[0]
        shutil.copytree(folder, broken)
        about = json.loads((folder / "guard.json").read_text())
        (broken / "guard.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(ModelError, match=text):
            evaluate.open_model(str(broken))
    for content in ("{", "[]"):
        (broken / "guard.json").write_text(content)
        with pytest.raises(ModelError, match="no whole guarded model"):
            evaluate.open_model(str(broken), shape=(1, 8, 8), classes=10)
    (broken / "guard.json").write_text(json.dumps(about))
    (broken / "guard.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"not the file that guard.json was written for"):
        evaluate.open_model(str(broken))


# Both columns.


@pytest.fixture(scope="module")
def judged():
    made = detecting.fitted("entropy")
    chosen = [attacks.build("pgd", {"steps": 20}), attacks.build("ddn"), attacks.build("square", {"queries": 60})]
    return made, detection(made, detecting.held_out().take(slice(0, 60)), chosen, threats.Linf(eps=0.3))


def test_who_knows_a_detector_is_never_worse_off(judged):
    for one in judged[1].plain["attacks"]:
        assert one["adaptive"]["detected"]["rate"] <= one["oblivious"]["detected"]["rate"]
        if one["full"] is not None:
            assert one["adaptive"]["detected"]["rate"] <= one["full"]["detected"]["rate"]


def test_counts_are_those_of_the_pictures(judged):
    made, found = judged
    limit = float(made.model.threshold)
    for one, row in zip(found.judged, found.plain["attacks"], strict=True):
        x, y = one.adaptive.x_adv, detecting.held_out().take(slice(0, 60)).labels
        with torch.no_grad():
            logits, suspicion = made.model.eval().suspect(x)
        n = len(x)
        assert row["oblivious"]["succeeded"]["n"] == n
        flagged = (one.oblivious.suspicion.double() > limit) & one.oblivious.success
        assert row["oblivious"]["detected"]["k"] == int(flagged.sum())
        right = detecting.trained().eval()(detecting.held_out().x(slice(0, 60))).argmax(1) == y
        wrong = logits.argmax(1) != y[right]
        assert torch.equal(one.adaptive.success, wrong & (suspicion.double() <= limit))
        base = one.oblivious.success | one.adaptive.success
        detected = row["adaptive"]["detected"]
        assert (detected["k"], detected["n"]) == (int((base & ~one.adaptive.success).sum()), int(base.sum()))
        sizes = one.adaptive.size[one.adaptive.success].double().numpy()
        assert row["adaptive"]["median_size"] == pytest.approx(float(np.median(sizes)))
        clean = found.clean[right].double() <= limit
        assert row["robust"]["k"] == int((clean & ~one.adaptive.success).sum())
        assert row["robust"]["n"] == 60


@pytest.fixture(scope="module")
def some():
    """Judged within a radius that leaves some pictures right, by a detector with an own rate of false alarms."""
    made = detecting.fitted("max-logit", false_alarms=0.2)
    pictures = data.load("digits", "train").take(slice(800, 1000))
    walk = {"steps": 10, "step_size": 0.1, "random_start": False}  # first successes of many sizes
    chosen = [attacks.build("pgd", {"steps": 10, "step_size": 0.2}), attacks.build("pgd", walk)]
    return made, pictures, detection(made, pictures, chosen, threats.Linf(eps=0.07), seed=3)


def share(values):
    return None if not len(values) else (int(values.sum()), len(values))


def rate(told):
    return None if told is None else (told["k"], told["n"])


def test_what_is_told_of_clean_pictures_is_counted(some):
    made, pictures, found = some
    told, clean, limit = found.plain["clean"], found.clean.double(), made.threshold.value
    right = detecting.predicted(made.model.model, pictures.x()) == pictures.labels
    assert (~right & (clean <= limit)).any()
    assert rate(told["right"]) == share(right)
    assert rate(told["false_alarms"]) == share(clean > limit)
    assert list(told["false_alarms_at"]) == ["0.01", "0.05", "0.2"]
    for name, at in told["false_alarms_at"].items():
        assert rate(at) == share(clean > threshold(made.clean, float(name)).value)
    assert rate(told["answered_and_right"]) == share(right & (clean <= limit))
    assert rate(told["right_of_answered"]) == share(right[clean <= limit])


def test_what_is_told_of_who_is_unaware_is_counted(some):
    made, pictures, found = some
    limit, clean = made.threshold.value, found.clean.numpy()
    right = detecting.predicted(made.model.model, pictures.x()) == pictures.labels
    astray = int((~right & (found.clean <= limit)).sum())  # wrong as they are, and answered
    assert astray > 0
    y = pictures.labels[detecting.predicted(made.model.model, pictures.x()) == pictures.labels]
    for one, row in zip(found.judged, found.plain["attacks"], strict=True):
        for column, of in ((row["oblivious"], one.oblivious), (row["full"], one.full)):
            prediction = detecting.predicted(made.model.model, of.x_adv)
            broken = prediction != y
            suspicion = detecting.suspected(made.model.suspicion, made.model.model, of.x_adv).double()
            assert rate(column["succeeded"]) == share(broken)
            assert rate(column["detected"]) == share(suspicion[broken] > limit)
            for name, at in column["detected_at"].items():
                assert rate(at) == share(suspicion[broken] > threshold(made.clean, float(name)).value)
            assert column["median_size"] == pytest.approx(float(np.median(of.size[broken].numpy())))
            area = roc_auc_score([0] * len(clean) + [1] * int(broken.sum()), np.append(clean, suspicion[broken]))
            assert column["auroc"]["value"] == pytest.approx(area)
            assert column["auroc"]["low"] < area < column["auroc"]["high"]
            assert rate(column["right_of_answered"]) == (
                int((~broken & (suspicion <= limit)).sum()),
                int((suspicion <= limit).sum()) + astray,
            )
    assert row["oblivious"]["detected"]["k"] > 0
    assert 10 < row["oblivious"]["succeeded"]["k"] < row["oblivious"]["succeeded"]["n"] - 10
    assert row["oblivious"]["median_size"] < 0.069


def test_what_is_told_of_who_is_aware_is_counted(some):
    made, pictures, found = some
    limit, clean = made.threshold.value, found.clean
    right = detecting.predicted(made.model.model, pictures.x()) == pictures.labels
    for one, row in zip(found.judged, found.plain["attacks"], strict=True):
        evaded = torch.zeros(len(clean), dtype=torch.bool)
        evaded[right] = one.adaptive.success
        held = right & ~evaded & (clean <= limit)
        broken = one.oblivious.success | one.full.success | one.adaptive.success
        told = row["adaptive"]
        assert rate(told["detected"]) == share(~one.adaptive.success[broken])
        assert rate(told["evaded"]) == share(one.adaptive.success)
        assert rate(row["robust"]) == share(held)
        assert rate(told["right_of_answered"]) == share(held[(clean <= limit) | evaded])


def test_what_is_neither_above_nor_below_is_refused():
    made = detecting.fitted("entropy").model
    limit = float(made.threshold)
    assert made.refuses(torch.tensor([limit - 1, limit + 1, float("nan")])).tolist() == [False, True, True]


def test_an_interrupted_run_goes_on_after_the_attacks_that_are_judged(tmp_path, monkeypatch):
    made, pictures = detecting.fitted("entropy"), detecting.held_out().take(slice(0, 20))
    chosen = [attacks.build("fgsm"), attacks.build("ddn", {"steps": 10}), attacks.build("pgd", {"steps": 5})]
    asked = []

    def until(stop, resume, seed=0, chosen=chosen):
        def by(judge, attack, tell):
            if attack.name == stop:
                raise KeyboardInterrupt
            asked.append(attack.name)
            return original(judge, attack, tell)

        original = Judge.by
        with monkeypatch.context() as patch:
            patch.setattr(Judge, "by", by)
            return detection(made, pictures, chosen, threats.Linf(eps=0.3), seed=seed, out=tmp_path, resume=resume)

    with pytest.raises(KeyboardInterrupt):
        until("pgd", False)
    assert not (tmp_path / "detect.json").exists()
    with pytest.raises(KeyboardInterrupt):
        until("pgd", True)
    assert asked == ["fgsm", "ddn"]
    (tmp_path / "judged" / "1.safetensors").write_bytes(b"cut off")
    found = until(None, True)
    assert asked == ["fgsm", "ddn", "ddn", "pgd"]
    whole = detection(made, pictures, chosen, threats.Linf(eps=0.3))
    assert found.plain == whole.plain
    assert (tmp_path / "detect.json").is_file()
    assert not (tmp_path / "judged").exists()
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        until("pgd", False)
    with pytest.raises(KeyboardInterrupt):
        until("pgd", True, seed=1)
    with pytest.raises(KeyboardInterrupt):
        until("pgd", True, seed=1, chosen=[attacks.build("fgsm"), attacks.build("ddn", {"steps": 9}), chosen[2]])
    assert asked == ["fgsm", "ddn", "fgsm", "ddn", "ddn"]


def sharper(logits):
    return 2 * logits


def renamed(logits):
    return logits[:, [1, 0, *range(2, 10)]]


@pytest.mark.parametrize("code", [sharper, renamed])
def test_what_other_code_with_the_same_weights_found_is_not_taken(tmp_path, code):
    made, pictures = detecting.fitted("entropy"), detecting.held_out().take(slice(0, 20))

    def files(batch=256):
        judge = Judge(made.model, pictures, threats.Linf(eps=0.3), threats.L2(eps=8.0), 0, batch)
        return JudgedFiles(tmp_path, judge, made.detector), judge

    before, judge = files()
    attack = attacks.build("fgsm")
    before.keep(0, judge.by(attack, None))
    found = files(batch=7)[0].get(0, attack)
    assert torch.equal(found.adaptive.success, before.get(0, attack).adaptive.success)
    hook = made.model.model.register_forward_hook(lambda module, given, logits: code(logits))
    try:
        assert files()[0].get(0, attack) is None
    finally:
        hook.remove()


def test_what_another_run_found_is_not_taken(tmp_path, monkeypatch):
    made, pictures = detecting.fitted("entropy"), detecting.held_out().take(slice(0, 20))

    def found(threat=0.3, within=threats.L2, seed=0, of=made.model, detector=made.detector, shown=pictures, asked=None):
        judge = Judge(of, shown, threats.Linf(eps=threat), within(eps=1.0), seed, 256)
        files = JudgedFiles(tmp_path, judge, detector)
        if asked is None:
            files.keep(0, judge.by(attacks.build("fgsm"), None))
        return files.get(0, asked or attacks.build("fgsm"))

    assert found() is not None
    same = attacks.build("fgsm")
    assert found(asked=same) is not None
    shifted = Guarded(made.model.model, made.model.suspicion, float(made.model.threshold) + 1e-9, 1.0, 10)
    others = [
        {"threat": 0.2},
        {"within": threats.Linf},
        {"seed": 1},
        {"of": shifted},
        {"detector": detect.detector("energy")},
    ]
    others += [{"shown": detecting.held_out().take(slice(1, 21))}]
    assert [found(asked=same, **other) for other in others] == [None] * len(others)
    origin = provenance.provenance
    monkeypatch.setattr(provenance, "provenance", lambda *given: {**origin(*given), "device": "another"})
    assert found(asked=same) is None


def test_all_attacks_are_checked_before_the_first_runs(monkeypatch):
    made = detecting.fitted("entropy")
    monkeypatch.setattr("holdfast.evaluate.judge.run", lambda *rest, **more: pytest.fail("an attack ran"))
    chosen = [attacks.build("fgsm"), attacks.build("orthogonal-pgd")]
    with pytest.raises(OptionError, match="cannot be unaware of it"):
        detection(made, detecting.held_out().take(slice(0, 5)), chosen, threats.Linf(eps=0.3))


def test_all_steps_go_on_to_a_higher_loss(some):
    made, pictures, found = some
    first, whole = found.judged[0].oblivious, found.judged[0].full
    y = pictures.labels[detecting.predicted(made.model.model, pictures.x()) == pictures.labels]
    with torch.no_grad():
        before, after = (
            nn.functional.cross_entropy(made.model.model.eval()(of.x_adv), y, reduction="none") for of in (first, whole)
        )
    made.model.model.train()
    assert (after >= before - 1e-5).all()
    assert (after > before + 0.1)[first.success].double().mean() > 0.5


def test_noise_goes_by_the_place_of_a_picture(some):
    made, pictures, found = some
    threat, attack = threats.Linf(eps=0.07), found.judged[0].attack
    alone = pictures.take(slice(40, 70))
    (again,) = detection(made, alone, [attack], threat, seed=3).judged
    right = detecting.predicted(made.model.model, pictures.x()) == pictures.labels
    before = int(right[:40].sum())
    torch.testing.assert_close(
        again.oblivious.x_adv, found.judged[0].oblivious.x_adv[before:][: len(again.oblivious.x_adv)]
    )


def test_the_smallest_of_what_passes_is_kept():
    made = detecting.fitted("entropy")
    judge = Judge(made.model, detecting.held_out().take(slice(5)), threats.Linf(eps=0.3), threats.L2(eps=1.0), 0, 256)
    limit = judge.limit

    def found(success, size, suspicion, mark):
        n = len(success)
        return Found(
            torch.full((n, 1, 8, 8), mark),
            torch.tensor(success),
            torch.tensor(size, dtype=torch.float64),
            limit + torch.tensor(suspicion),
            torch.full((n,), int(mark)),
        )

    aware = found([True, True, False, False, False], [1.0, 1.0, 9.0, 9.0, 9.0], [-1.0] * 5, 1.0)
    unaware = found([True, True, True, True, False], [0.5, 2.0, 3.0, 3.0, 0.1], [-1.0, -1.0, -1.0, 1.0, -1.0], 2.0)
    best = judge.with_passed(aware, [unaware])
    assert best.success.tolist() == [True, True, True, False, False]
    assert best.size[:3].tolist() == [0.5, 1.0, 3.0]
    assert best.prediction[:3].tolist() == [2, 1, 2]
    assert best.x_adv[:3, 0, 0, 0].tolist() == [2.0, 1.0, 2.0]


def test_what_is_refused_as_it_is_does_not_hold():
    made = detecting.fitted("entropy")
    found = detection(made, detecting.held_out(), [attacks.build("fgsm")], threats.Linf(eps=0.02))
    (row,) = found.plain["attacks"]
    clean = found.plain["clean"]
    assert clean["false_alarms"]["k"] > 0
    assert row["robust"]["k"] <= clean["answered_and_right"]["k"]
    assert row["robust"]["k"] >= clean["answered_and_right"]["k"] - row["adaptive"]["evaded"]["k"]


def test_attacks_of_all_kinds_get_what_suits_them(judged):
    rows = {one["attack"]: one for one in judged[1].plain["attacks"]}
    assert rows["pgd"]["adaptive"]["attacks"] == ["pgd", *["orthogonal-pgd"] * 2, *["orthogonal-apgd"] * 2]
    assert rows["ddn"]["adaptive"]["attacks"] == ["ddn", "evasive-cw"]
    assert rows["square"]["adaptive"]["attacks"] == ["square"]
    assert rows["ddn"]["full"] is None
    assert rows["ddn"]["threat"]["minimal"]
    assert rows["pgd"]["full"]["succeeded"]["k"] >= rows["pgd"]["oblivious"]["succeeded"]["k"]


def test_the_guarded_model_is_given_back_as_found():
    made = detecting.fitted("entropy")
    modes = [part.training for part in made.model.modules()]
    assert any(modes)
    detection(made, detecting.held_out().take(slice(0, 10)), [attacks.build("fgsm")], threats.Linf(eps=0.3))
    assert [part.training for part in made.model.modules()] == modes


def test_no_adversarial_picture_is_an_error():
    made = detecting.fitted("entropy")
    with pytest.raises(DataError, match="no adversarial picture was found"):
        detection(made, detecting.held_out().take(slice(0, 10)), [attacks.build("pgd")], threats.Linf(eps=1e-6))
    with pytest.raises(OptionError, match="no attack was given"):
        detection(made, detecting.held_out(), [], threats.Linf(eps=0.3))
    with pytest.raises(OptionError, match="has no form for"):
        detection(made, detecting.held_out(), [attacks.build("jsma")], threats.Linf(eps=0.3))


# The command line and the page.


def test_a_detector_is_fitted_judged_and_shown_in_one_go(classifier, tmp_path):
    line = f"detect evaluate --model {classifier} --data digits -n 25 --eps 0.3 --detector energy --attack pgd:steps=10"
    result = plain(line, "--out", tmp_path / "run")
    (row,) = result["attacks"]
    for column in ("oblivious", "adaptive"):
        assert {"detected", "false_alarms", "median_size"} <= row[column].keys()
    assert (tmp_path / "run" / "guard" / "guard.json").is_file()
    html = (tmp_path / "run" / "report.html").read_text()
    assert "What this detector is worth once it is known" in html
    assert "Once it is known, energy flags" in html
    assert "<script" not in html
    assert KIND.write(tmp_path / "run").read_text() == html
    done(f"report {tmp_path / 'run'} --out {tmp_path / 'again.html'}")
    assert (tmp_path / "again.html").read_text() == html
    line = f"detect evaluate --model {tmp_path / 'run' / 'guard'} --data digits -n 25 --eps 0.3 --attack pgd:steps=10"
    again = plain(line, "--no-report", "--out", tmp_path / "again")
    assert again["attacks"] == result["attacks"]
    (tmp_path / "run" / "detect.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(RunError, match="format 2"):
        KIND.write(tmp_path / "run")


def test_a_run_cut_short_goes_on_with_its_detector(classifier, folder, tmp_path, monkeypatch):
    out, rest = tmp_path / "run", "--data digits -n 25 --eps 0.3 --attack fgsm --attack pgd:steps=10 --no-report"
    fitting = "--detector=mahalanobis --false-alarms 0.1 --fit-limit 200"
    line = f"detect evaluate -m {classifier} {rest} {fitting}"
    whole = plain(f"{line} --out {tmp_path / 'whole'}")
    judged, fitted = [], []
    by, fit = Judge.by, detect.fit

    def stopped(judge, attack, tell):
        if attack.name == "pgd":
            raise KeyboardInterrupt
        return by(judge, attack, tell)

    monkeypatch.setattr("sys.argv", ["holdfast", *line.split()])
    with monkeypatch.context() as cut:
        cut.setattr(Judge, "by", stopped)
        result = call(f"{line} --out {out}")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == f"interrupted; go on with: holdfast {line} --resume"
    _, text = refused(f"{line} --quiet --out {out}")
    assert "is not empty" in text
    _, text = refused(f"{line.replace('0.1', '0.2')} --quiet --resume --out {out}")
    assert "fitted in another way" in text
    (out / ".detect.json.x.part").write_bytes(b"")  # as a kill may leave it
    (out / "detect.safetensors").write_bytes(b"")
    monkeypatch.setattr(Judge, "by", lambda judge, attack, tell: judged.append(attack.name) or by(judge, attack, tell))
    monkeypatch.setattr(detect, "fit", lambda *rest, **more: fitted.append(1) or fit(*rest, **more))
    assert plain(f"{line} --resume --out {out}")["attacks"] == whole["attacks"]
    assert (judged, fitted) == (["pgd"], [])
    _, text = refused(f"{line} --quiet --resume --out {out}")
    assert "is finished" in text
    _, text = refused(f"{line} --quiet --resume --out {folder}")
    assert "holds no run that was cut short" in text
    assert "nothing to resume" in done(f"{line} --resume --out {tmp_path / 'new'}").stderr


@pytest.mark.parametrize("at", ["holdfast.detect.fit", "holdfast.detect.saving.sha256"])
def test_a_run_cut_short_while_it_fits_says_how_to_go_on(classifier, tmp_path, monkeypatch, at):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    line = f"detect evaluate -m {classifier} --data digits -n 10 --eps 0.3 --attack fgsm --detector energy"
    line += f" --out {tmp_path / 'run'}"
    monkeypatch.setattr("sys.argv", ["holdfast", *line.split()])
    with monkeypatch.context() as cut:
        cut.setattr(at, interrupted)
        result = call(line)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == f"interrupted; go on with: holdfast {line} --resume"
    assert plain(f"{line} --no-report --resume")["attacks"][0]["attack"] == "fgsm"


def test_one_adversarial_picture_is_enough_for_a_page(folder, tmp_path):
    line = f"detect evaluate --model {folder} --data digits --split validation -n 2 --eps 0.5 --attack pgd"
    shown = done(line, "--out", tmp_path / "run")
    assert "warning: thresholds are from validation pictures" in shown.stderr
    result = json.loads((tmp_path / "run" / "detect.json").read_text())
    assert result["attacks"][0]["oblivious"]["auroc"] is None
    html = (tmp_path / "run" / "report.html").read_text()
    assert "Once it is known" in html
    assert "digits, 2 validation pictures" in html
    assert "says nothing of other thresholds" in html
    assert "of 2 clean pictures refused" in shown.stdout
    assert "of 1 clean picture refused" in judged_command.shown({**result, "clean": {**result["clean"], "n": 1}})[0]


def test_what_holds_is_told_within_the_radius_alone(judged):
    from holdfast.report.detection import worth

    told = worth(judged[1].plain)
    limited = [one for one in judged[1].plain["attacks"] if not one["threat"]["minimal"]]
    least = min(one["robust"]["rate"] for one in limited)
    assert f"Within linf 0.3, {100 * least:.1f} % of all pictures" in told.replace("\xa0", " ")
    (ddn,) = (one for one in judged[1].plain["attacks"] if one["attack"] == "ddn")
    assert "stay so" not in worth({**judged[1].plain, "attacks": [ddn]})


def test_the_curve_of_who_is_aware_agrees_with_the_table():
    """Four pictures are broken; for two of them nothing passes, and they count as found at every threshold."""
    found = {
        "clean": np.linspace(0, 1, 100),
        "0.oblivious.suspicion": np.array([0.99, 0.98, 0.97, 0.96, 0.5]),
        "0.oblivious.success": np.array([True, True, True, True, False]),
        "0.adaptive.suspicion": np.array([0.2, 0.9, 2.0, 2.0, 0.0]),
        "0.adaptive.success": np.array([True, True, False, False, False]),
    }
    curve = points(0, "adaptive", found)
    assert curve[0] == (0.0, 0.5)
    assert curve[-1] == (1.0, 1.0)
    assert max(share for alarms, share in curve if alarms < 0.09) == 0.5
    assert min(share for alarms, share in curve if 0.11 < alarms < 0.79) == 0.75
    assert points(0, "oblivious", found)[0] == (0.0, 0.0)
    assert points(0, "full", found) is None


def test_the_headline_names_the_attack_that_leaves_the_least(judged):
    from holdfast.report.detection import worth

    rows = judged[1].plain["attacks"]
    worst = min(rows, key=lambda one: (one["adaptive"]["detected"]["rate"], one["attack"]))
    assert f"of what {worst['attack']} finds" in worth(judged[1].plain)
    (ddn,) = (one for one in rows if one["attack"] == "ddn")
    for size, told in ((0.9, "costs ddn nothing"), (2.0, "costs ddn 2 times"), (1.03, "costs ddn 1.03 times")):
        aware = {**ddn["adaptive"], "median_size": size * ddn["oblivious"]["median_size"]}
        assert told in worth({**judged[1].plain, "attacks": [{**ddn, "adaptive": aware}]})
    weak = {**worst, "attack": "weak", "adaptive": {**worst["adaptive"], "detected": {"rate": 1.0}}}
    for attacks_made in ([weak, worst], [worst, weak]):
        told = worth({**judged[1].plain, "attacks": attacks_made})
        assert f"of what {worst['attack']} finds" in told
    assert "the median change" in worth(judged[1].plain)


def test_pictures_are_told_apart_one_by_one(folder, tmp_path):
    told = plain(f"detect apply --model {folder} --data digits -n 40 --out {tmp_path / 'run'}")
    lines = (tmp_path / "run" / "detected.csv").read_text().splitlines()
    assert lines[0] == "place,prediction,suspicion,refused"
    assert sum(line.endswith(",yes") for line in lines[1:]) == told["refused"]
    assert len(lines) == 41


def test_names_of_classes_may_have_commas(tmp_path):
    pictures = data.load("digits", "train", limit=300)
    named = replace(pictures, classes=tuple(f"{name}, a digit" for name in pictures.classes))
    card = train.card_for("mlp", named, {"hidden": "8"})
    train.train(card, named, recipe=train.Recipe(options=train.TrainOptions(epochs=1)), out=tmp_path / "plain")
    done(f"detect fit --model {tmp_path / 'plain'} --data digits --detector energy --out {tmp_path / 'guard'}")
    done(f"detect apply --model {tmp_path / 'guard'} --data digits --out {tmp_path / 'run'}")
    with (tmp_path / "run" / "detected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["refused"] for row in rows} == {"yes", "no"}
    assert {row["prediction"] for row in rows} <= set(named.classes)


def test_pictures_of_no_known_class_are_told_by_their_files(folder, tmp_path):
    lying = tmp_path / "lying"
    lying.mkdir()
    pictures = data.load("digits", "test", limit=5)
    for number, image in enumerate(pictures.images):
        Image.fromarray(image[0].numpy()).save(lying / f"{number},a.png")
    (lying / "notes.txt").write_text("no picture")
    shown = done(f"detect apply --model {folder} --data {lying} --out {tmp_path / 'own'}")
    assert "left out: 1 file is not a picture: notes.txt" in shown.stderr
    done(f"detect apply --model {folder} --data digits -n 5 --out {tmp_path / 'set'}")
    own, of_set = (
        list(csv.reader((tmp_path / run / "detected.csv").read_text().splitlines())) for run in ("own", "set")
    )
    assert own[0] == ["file", "prediction", "suspicion", "refused"]
    assert [row[0] for row in own[1:]] == [f"{number},a.png" for number in range(5)]
    assert [row[1:] for row in own] == [row[1:] for row in of_set]
    told = plain(f"detect apply --model {folder} --data {lying} -n 2 --out {tmp_path / 'two'}")
    assert told["n"] == 2
    (lying / "class").mkdir()
    _, text = refused(f"detect apply --model {folder} --data {lying} --quiet --out {tmp_path / 'never'}")
    assert "class folder without files" in text


def test_a_guarded_model_is_no_classifier_to_go_on_with(folder, tmp_path):
    line = f"train --from {folder} --data digits --model mlp --epochs 1 --quiet --out {tmp_path / 'never'}"
    _, text = refused(line)
    assert f"is guarded by a detector; allowed here: its classifier, {str(folder / 'classifier')!r}" in text
    line = f"substitute --victim {folder} --data digits -n 50 --model linear --epochs 1 --quiet"
    _, text = refused(line, "--out", tmp_path / "never")
    assert "is guarded by a detector; allowed: its classifier alone" in text
    _, text = refused(f"detect fit --model nowhere --data digits --quiet --out {tmp_path / 'never'}")
    assert "unknown model 'nowhere'" in text
    assert "Nor is a folder 'nowhere' there, seen from" in text


def test_its_page_is_of_one_folder_alone(folder, tmp_path):
    done(f"detect evaluate --model {folder} --data digits -n 20 --eps 0.4 --attack fgsm --no-report --out {tmp_path}")
    _, text = refused(f"report {tmp_path} {tmp_path}")
    assert "detect.json, whose page is of one folder; allowed: that folder alone" in text


REFUSED = {
    "a classifier without a detector": ("evaluate --model {classifier} --eps 0.1", "has no detector; allowed"),
    "a detector twice": ("evaluate --model {folder} --eps 0.1 --detector energy", "has a detector already"),
    "a rate for one that is fitted": (
        "evaluate --model {folder} --eps 0.1 --false-alarms 0.2",
        "--false-alarms with --model {folder}, whose detector is fitted; allowed: with --detector",
    ),
    "a limit for one that is fitted": (
        "evaluate --model {folder} --eps 0.1 --fit-limit 9",
        "--fit-limit with --model {folder}, whose detector is fitted; allowed: with --detector",
    ),
    "a model that is not there": ("evaluate --model nowhere --eps 0.1", "--model nowhere is not there; allowed"),
    "a norm that is none": ("evaluate --model {folder} --eps 1 --norm patch", "unknown norm 'patch'; known: l0, l1"),
    "an empty detector": ("fit --model {classifier} --detector ''", "--detector ''; allowed: NAME"),
    "a rate that is no number": ("fit --model {classifier} --false-alarms often", "--false-alarms 'often'; allowed"),
    "an attack from elsewhere": (
        "evaluate --model {folder} --eps 0.1 --attack foolbox:LinfPGD",
        "--attack foolbox:LinfPGD; allowed: attacks of our own, which know how to attack a detector too",
    ),
    "an attack of one's own": ("evaluate --model {folder} --eps 0.1 --attack a.py:attack", "attacks of our own"),
    "an option of an attack without its value": (
        "evaluate --model {folder} --eps 0.1 --attack pgd:steps",
        "NAME or NAME:OPTION=VALUE",
    ),
    "an attack twice": ("evaluate --model {folder} --eps 0.1 --attack pgd --attack pgd", "--attack pgd is given twice"),
    "an attack that knows": ("evaluate --model {folder} --eps 0.1 --attack orthogonal-pgd", "cannot be unaware of it"),
    "an unknown attack": ("evaluate --model {folder} --eps 0.1 --attack fgms", "Did you mean 'fgsm'"),
    "an unknown detector": ("fit --model {classifier} --detector enrgy", "Did you mean 'energy'"),
    "an unknown option": ("fit --model {classifier} --detector energy:heat=3", "heat"),
    "too few pictures": ("fit --model {classifier} --false-alarms 0.001", "allowed: 999 or more"),
    "a rate that is none": ("fit --model {classifier} --false-alarms 2", "between 0 and 1"),
    "a guarded model": ("fit --model {folder}", "guarded already"),
    "nothing to find": (
        "evaluate --model {folder} -n 5 --eps 0.000001 --attack pgd",
        "no adversarial picture was found",
    ),
    "no detector to apply": ("apply --model {classifier}", "has no detector; allowed"),
    "a folder in use": ("apply --model {folder} --out {folder}", "is not empty"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(case, folder, classifier, tmp_path):
    line, text = case
    line = line.format(folder=folder, classifier=classifier)
    out = "" if "--out" in line else f" --out {tmp_path / 'never'}"
    result = call(f"detect {line} --data digits{out}")
    assert result.exit_code in (1, 2), result.output
    errors = [row for row in result.stderr.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1
    assert text.format(folder=folder) in errors[0]


def test_a_rate_may_be_a_fraction(classifier, tmp_path):
    line = f"detect fit --model {classifier} --data digits --detector entropy --false-alarms 1/10"
    assert plain(line, "--out", tmp_path / "guard")["false_alarms"] == 0.1

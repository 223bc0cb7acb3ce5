"""A detector judged twice: what attackers find who do not know of it and who do, and what is told of that."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import detecting
from holdfast import attacks, data, detect, threats
from holdfast.detect.threshold import threshold
from holdfast.errors import DataError, OptionError
from holdfast.evaluate import detection, provenance
from holdfast.evaluate.judge import Found, Judge
from holdfast.evaluate.judged_files import JudgedFiles
from holdfast.models.guarded import Guarded
from holdfast.report.detection import points


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

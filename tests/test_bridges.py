"""Attacks from elsewhere run under the verifier and the meter, and nothing they do goes unnoticed or lasts."""

import importlib
import json
import random
import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import holdfast
from evaluate_models import digits, honest
from holdfast import bridges, report
from holdfast.access import Access
from holdfast.attacks import ATTACKS, PGD, External, Noise, run_external, run_in_a_row
from holdfast.bridges.library import INSTALL, library
from holdfast.data import Pictures
from holdfast.errors import AttackDidNothing, AttackError, ModelError, OptionError, RunError
from holdfast.evaluate import Meter, evaluate
from holdfast.extract import UNIVERSAL
from holdfast.models import BitDepth, Defended
from holdfast.threats import L2, THREATS, Linf

# What the libraries themselves warn of is not ours to mend.
theirs_to_mend = pytest.mark.filterwarnings("ignore")

EPS = 0.06
THREAT = Linf(eps=EPS)


@pytest.fixture(scope="module")
def pictures():
    return digits().take(slice(0, 60))


def sign_step(model, x, y, threat):
    """FGSM, as anybody would write it."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), x)
    return (x + threat.eps * gradient.sign()).clamp(threat.low, threat.high).detach()


def of_one_radius(model, x, y):
    return sign_step(model, x, y, THREAT)


def guess(model, x, y, threat):
    """A random point, by the three generators that libraries draw from."""
    move = torch.rand_like(x) + torch.from_numpy(np.random.rand(*x.shape)).to(x) + random.random() - 1.5
    return (x + threat.eps * move.sign()).clamp(0, 1)


def check(found, name):
    return next(finding for finding in found.checks if finding.name == name)


def judged(call, pictures, threat=THREAT, **about):
    attack = bridges.function(call, **about)
    x, y = pictures.x(), pictures.labels
    return run_external(attack, honest("cnn"), x, y, threat, batch=32, picture=pictures.place)


def test_a_plain_function_is_evaluated_like_fgsm(pictures):
    theirs = evaluate(honest("cnn"), pictures, THREAT, bridges.function(sign_step), batch=32)
    ours = evaluate(honest("cnn"), pictures, THREAT, holdfast.FGSM(), batch=32)
    assert torch.equal(theirs.records["broken"], ours.records["broken"])
    assert 0 < ours.robust.k < ours.clean.k
    assert theirs.summary["curve"][0]["by"][0]["attack"] == "sign_step"
    assert theirs.believe
    assert check(theirs, "verified").verdict == "pass"
    # A look, one gradient and a look for each right picture; a look for the others.
    right = (theirs.records["prediction"] == theirs.records["label"]).long()
    assert torch.equal(theirs.records["forward"][0], 1 + 2 * right)
    assert torch.equal(theirs.records["backward"][0], right)
    assert theirs.records["counted"][0, :2].tolist() == [60 + 2 * int(right.sum()), int(right.sum())]


def test_passes_are_those_that_hooks_see_and_are_shared_out_evenly(pictures):
    def one_more_for_the_first(model, x, y, threat):
        model(x[:3])
        return sign_step(model, x, y, threat)

    with Meter(honest("cnn")) as meter:
        found = judged(one_more_for_the_first, pictures)
    assert (int(found.forward.sum()), int(found.backward.sum())) == (meter.forward, meter.backward)
    assert sorted(set(found.forward[found.step != 0].tolist())) == [3, 4]


def test_in_a_row_each_gets_what_those_before_it_left(pictures):
    given = []

    def watched(model, x, y, threat):
        given.append(len(x))
        return sign_step(model, x, y, threat)

    row = [Noise(tries=5), bridges.function(watched), PGD(steps=10), bridges.function(guess, access=Access.LABELS)]
    found = evaluate(honest("cnn"), pictures, THREAT, row, batch=32, checks=False)
    by = {entry["attack"]: entry["broken"] for entry in found.summary["curve"][0]["by"]}
    assert list(by) == ["noise", "watched", "pgd", "guess"]
    assert sum(given) == found.clean.k - by["noise"]
    assert found.clean.k - sum(by.values()) == found.robust.k
    assert by["watched"] > 0
    alone = evaluate(honest("cnn"), pictures, THREAT, PGD(steps=10), batch=32, checks=False)
    assert not (alone.records["broken"] & ~found.records["broken"]).any()
    assert check(found, "verified").verdict == "pass"


def test_own_attacks_alone_are_what_the_engine_makes_of_them(pictures):
    x, y, row = pictures.x(), pictures.labels, [Noise(tries=3), PGD(steps=5)]
    alone = holdfast.attacks.run(row, honest("cnn"), x, y, THREAT, seed=3)
    found = run_in_a_row(row, honest("cnn"), x, y, THREAT, seed=3)
    assert torch.equal(alone.x_adv, found.x_adv)
    assert torch.equal(alone.attack, found.attack)


def test_two_stages_of_one_attack_draw_different_numbers(pictures):
    drawn = []
    noisy = bridges.function(lambda model, x, y: drawn.append(torch.rand(3)) or x + 1e-4, access=Access.LABELS)
    run_in_a_row([noisy, noisy], honest("cnn"), *whole(pictures), THREAT)
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == 2


def test_pictures_wrong_from_the_start_are_not_handed_over(pictures):
    def insists(model, x, y, threat):
        assert (model(x).argmax(1) == y).all()
        return sign_step(model, x, y, threat)

    found = judged(insists, pictures)
    wrong = found.step == 0
    assert wrong.any()
    assert torch.equal(found.x_adv[wrong], pictures.x()[wrong])


def test_no_radius_no_attack(pictures):
    found = judged(lambda model, x, y: 1 / 0, pictures, Linf(eps=0.0))
    assert torch.equal(found.x_adv, pictures.x())


def idle(model, x, y):
    return x


def outside_the_ball(model, x, y, threat):
    return sign_step(model, x, y, threat.with_eps(min(3 * threat.eps, 1.0)))


def outside_the_box(model, x, y, threat):
    return sign_step(model, x, y, Linf(eps=threat.eps, low=-1, high=2))


def not_numbers(model, x, y, threat):
    found = sign_step(model, x, y, threat)
    found[0] = torch.nan
    return found


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (outside_the_ball, "larger than eps"),
        (outside_the_box, "outside the box"),
        (not_numbers, "not finite"),
    ],
)
def test_points_that_are_not_allowed_are_no_success_and_are_flagged(call, told, pictures, tmp_path):
    found = evaluate(honest("cnn"), pictures, THREAT, bridges.function(call), batch=32, out=tmp_path / "run")
    assert not found.believe
    assert told in check(found, "verified").evidence
    assert "claims not confirmed" not in check(found, "verified").evidence
    fine = evaluate(honest("cnn"), pictures, THREAT, bridges.function(sign_step), batch=32, checks=False)
    assert found.robust.k >= fine.robust.k
    assert report.write([found.run]).is_file()


def test_a_point_that_is_not_allowed_stays_in_sight_unless_a_later_attack_breaks_the_picture(pictures):
    row = [bridges.function(outside_the_ball), bridges.function(sign_step)]
    found = evaluate(honest("cnn"), pictures, THREAT, row, batch=32, checks=False)
    standing = ~found.records["broken"][0]
    assert (found.records["inside_eps"][0] != standing).all()


def test_a_smallest_change_beyond_the_radius_is_brought_back(pictures):
    found = judged(outside_the_ball, pictures, minimal=True)
    plain = judged(sign_step, pictures)
    assert (found.size <= EPS + 1e-6).all()
    assert int(found.success.sum()) == int(plain.success.sum())


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (idle, AttackDidNothing, "idle returned all 53 pictures it was given unchanged"),
        (lambda model, x, y: (x + 0.01).clamp(0, 1), AttackDidNothing, "without one backward pass"),
        (lambda model, x, y: x[1:], AttackError, "Return one picture for each given one"),
        (lambda model, x, y: x.double(), AttackError, "torch.float64 on cpu"),
        (lambda model, x, y: x.to("meta"), AttackError, "torch.float32 on meta"),
        (lambda model, x, y: x.numpy(), AttackError, "lambda returned ndarray"),
        (lambda model, x, y: None, AttackError, "lambda returned NoneType"),
        (lambda model, x, y: x[:, :, :, 99], AttackError, "lambda failed on 27 pictures of shape (1, 8, 8): IndexErr"),
        (lambda model, x: x, AttackError, "TypeError"),
    ],
)
def test_what_an_attack_does_wrong_is_an_error_of_one_line(call, error, told, pictures):
    with pytest.raises(error) as raised:
        judged(call, pictures)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_in_a_row_idleness_is_found_out_too(pictures):
    with pytest.raises(AttackDidNothing, match="idle"):
        evaluate(honest("cnn"), pictures, THREAT, [PGD(steps=3), bridges.function(idle)], batch=32)


def test_what_is_left_may_be_too_hard_for_one_that_gives_the_original_back(pictures):
    def only_successes(model, x, y):
        found = of_one_radius(model, x, y)
        return torch.where((model(found).argmax(1) != y).view(-1, 1, 1, 1), found, x)

    x, y = whole(pictures)
    found = run_in_a_row([PGD(), bridges.function(only_successes)], honest("cnn"), x, y, THREAT)
    assert found.success.any()


def test_a_later_look_at_a_random_model_breaks_no_picture(pictures):
    class Fickle(nn.Module):
        """Right but for its third answer, which is the second attack's look at the unchanged pictures."""

        asked = 0

        def forward(self, x):
            self.asked += 1
            return nn.functional.one_hot(torch.full((len(x),), int(self.asked == 3)), 10).float()

    x, y = pictures.x(), torch.zeros(60, dtype=torch.int64)
    moves = bridges.function(lambda model, x, y: (x + 0.01).clamp(0, 1), access=Access.LABELS)
    found = run_in_a_row([moves, moves], Fickle(), x, y, THREAT)
    assert not found.success.any()
    assert (found.step == -1).all()


def test_a_model_is_not_shown_what_is_not_finite(pictures):
    """The verifier says so; a model that refuses such pictures must not end the evaluation."""

    def broken(model, x, y, threat):
        found = sign_step(model, x, y, threat)
        found[0] = float("nan")
        return found

    coarse = Defended(honest("cnn"), [BitDepth(bits=4)]).eval()
    found = evaluate(coarse, pictures, THREAT, bridges.function(broken), batch=60, checks=False)
    assert "1 not finite" in check(found, "verified").evidence


def test_a_statistic_that_is_not_set_is_no_change(pictures):
    model = deepcopy(honest("cnn"))
    model.register_buffer("unset", torch.full((2,), float("nan")))
    found = evaluate(model, pictures, THREAT, bridges.function(sign_step), batch=60)
    assert check(found, "dynamic").verdict == "pass"


@pytest.mark.bridges
@theirs_to_mend
def test_restoring_the_original_may_be_declared_by_name(pictures):
    assert bridges.build("torchattacks:FAB").restores
    assert not bridges.build("torchattacks:PGD").restores
    assert bridges.build("foolbox:LinfPGD", {"restores": "true"}).restores
    assert bridges.build("art:SquareAttack", {"restores": "true"}).restores
    with pytest.raises(OptionError, match="restores='often'; allowed: true, false"):
        bridges.build("foolbox:LinfPGD", {"restores": "often"})
    kept = evaluate(honest("cnn"), pictures, Linf(eps=1e-4), bridges.build("torchattacks:FAB"), checks=False)
    assert kept.robust.k == kept.clean.k


def test_giving_back_the_original_where_it_fails_is_no_idleness(pictures):
    def only_successes(model, x, y, threat):
        found = sign_step(model, x, y, threat)
        broken = model(found).argmax(1) != y
        return torch.where(broken[:, None, None, None], found, x)

    attack = bridges.function(only_successes, restores=True)
    found = evaluate(honest("cnn"), pictures, Linf(eps=1e-6), attack, batch=32, checks=False)
    assert found.robust.k == found.clean.k
    with pytest.raises(AttackDidNothing):
        evaluate(honest("cnn"), pictures, Linf(eps=1e-6), bridges.function(only_successes), batch=32, checks=False)


def normalised():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 10))
    net[1].weight.grad = torch.ones(16, 64)
    net[4].weight.requires_grad_(False)
    return net.train()


def remembered(net):
    state = [tensor.clone() for tensor in net.state_dict().values()]
    flags = [(parameter.requires_grad, parameter.grad) for parameter in net.parameters()]
    return state, [module.training for module in net.modules()], flags


def same(before, after):
    return all(map(torch.equal, before[0], after[0])) and before[1:] == after[1:]


def sets_modes(model, x, y, threat):
    model.train()
    found = sign_step(model, x, y, threat)
    for module in model.modules():
        module.training = True
    return found


def wants_gradients(model, x, y, threat):
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    nn.functional.cross_entropy(model(x), y).backward()
    return sign_step(model, x, y, threat)


def writes_to_its_arguments(model, x, y, threat):
    x.copy_(sign_step(model, x, y, threat))
    y.zero_()
    return x


def learns(model, x, y, threat):
    for module in model.modules():
        module.training = True
    model(x)
    return sign_step(model, x, y, threat)


@pytest.mark.parametrize("call", [sets_modes, wants_gradients, writes_to_its_arguments, learns, sign_step])
def test_model_and_pictures_come_back_as_they_were(call, pictures):
    net, x = normalised(), pictures.x()
    y = net.eval()(x).argmax(1)
    net.train()
    before, copy = remembered(net), x.clone()
    threat = Linf(eps=0.3)
    if call is learns:
        with pytest.raises(AttackError, match="running statistics"):
            run_external(bridges.function(call), net, x, y, threat, batch=32)
    else:
        found = run_external(bridges.function(call), net, x, y, threat, batch=32)
        assert torch.equal(found.x_adv, run_external(bridges.function(sign_step), net, x, y, threat, batch=32).x_adv)
    assert same(before, remembered(net))
    assert torch.equal(x, copy)


def test_model_comes_back_after_an_error(pictures):
    def breaks_down(model, x, y):
        model.model.train()
        raise RuntimeError("no more")

    net, x = normalised(), pictures.x()
    y = net.eval()(x).argmax(1)
    net.train()
    before = remembered(net)
    with pytest.raises(AttackError, match="RuntimeError: no more"):
        run_external(bridges.function(breaks_down), net, x, y, THREAT)
    assert same(before, remembered(net))


def generators():
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


def test_random_numbers_belong_to_the_run_and_leave_no_trace(pictures, tmp_path):
    attack = bridges.function(guess, access=Access.LABELS)
    runs, before = [], generators()
    for number, seed in enumerate([0, 0, 5]):
        args = {"batch": 16, "shard_size": 20, "seed": seed, "checks": False}
        runs.append(evaluate(honest("cnn"), pictures, Linf(eps=0.2), attack, out=tmp_path / str(number), **args))
        assert generators() == before
        torch.rand(1), np.random.rand(), random.random()  # as a program goes on
        before = generators()
    shards = [[path.read_bytes() for path in sorted((run.run / "shards").iterdir())] for run in runs]
    assert shards[0] == shards[1]
    assert shards[0] != shards[2]


def test_a_killed_run_goes_on_to_the_same_bytes_and_refuses_another_attack(pictures, tmp_path):
    attack = bridges.function(guess, access=Access.LABELS)
    args = {"batch": 16, "shard_size": 20, "checks": False}
    whole = evaluate(honest("cnn"), pictures, Linf(eps=0.2), attack, out=tmp_path / "run", **args)
    before = {path.name: path.read_bytes() for path in (whole.run / "shards").iterdir()}
    (whole.run / "shards" / "00001.safetensors").unlink()
    (whole.run / "summary.json").unlink()
    again = bridges.function(guess, access=Access.LABELS)
    evaluate(honest("cnn"), pictures, Linf(eps=0.2), again, out=whole.run, resume=True, **args)
    assert {path.name: path.read_bytes() for path in (whole.run / "shards").iterdir()} == before
    for other in (bridges.function(sign_step), bridges.function(guess, access=Access.LABELS, options="tries=2")):
        with pytest.raises(RunError, match="attack"):
            evaluate(honest("cnn"), pictures, Linf(eps=0.2), other, out=whole.run, resume=True, **args)


def test_run_json_says_what_ran(pictures, tmp_path):
    row = [PGD(steps=2), bridges.function(sign_step, options="step of eps")]
    found = evaluate(honest("cnn"), pictures, THREAT, row, batch=32, out=tmp_path / "run", checks=False)
    attack = json.loads((found.run / "run.json").read_text())["options"]["attack"]
    assert attack["name"] == "pgd+sign_step"
    assert attack["options"][1]["library"] == "function"
    assert attack["options"][1]["options"].startswith("sign_step, source ")
    assert attack["options"][1]["options"].endswith(", step of eps")
    assert " at 0x" not in json.dumps(attack)
    assert "sign_step" in (found.run / "records.csv").read_text()


def test_an_attack_learns_no_more_than_it_declares(pictures):
    answers = {}

    def curious(model, x, y):
        answers[level] = model(x.clone().requires_grad_())
        return x + 0.01

    for level in (Access.LABELS, Access.SCORES, Access.GRADIENT):
        attack = bridges.function(curious, access=level)
        run_external(attack, honest("cnn"), pictures.x(), pictures.labels, THREAT, refuse_nothing=False)
    assert [answers[level].requires_grad for level in sorted(answers)] == [False, False, True]
    assert set(answers[Access.LABELS].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(answers[Access.SCORES], answers[Access.GRADIENT].detach())


def test_a_callable_model_is_counted_too(pictures):
    net = honest("cnn")
    found = run_external(bridges.function(sign_step), lambda x: net(x), pictures.x(), pictures.labels, THREAT)
    assert torch.equal(found.x_adv, run_external(bridges.function(sign_step), net, *whole(pictures), THREAT).x_adv)
    assert int(found.backward.sum()) == int((found.step != 0).sum())


def whole(pictures):
    return pictures.x(), pictures.labels


def test_checks_question_our_own_attack_first_and_skip_what_does_not_fit(pictures):
    alone = evaluate(honest("cnn"), pictures, THREAT, bridges.function(of_one_radius), batch=32)
    skipped = {finding.name: finding.evidence for finding in alone.checks if finding.verdict == "skipped"}
    assert set(skipped) == {"unbounded", "monotone-eps", "converged", "noise", "transfer"}
    assert skipped["unbounded"] == "the attack has a radius of its own"
    weak = bridges.function(guess, access=Access.LABELS)
    assert check(evaluate(honest("cnn"), pictures, THREAT, weak, batch=32), "monotone-steps").verdict == "fail"
    row = evaluate(honest("cnn"), pictures, THREAT, [bridges.function(of_one_radius), PGD()], batch=32)
    assert check(row, "noise").verdict == check(row, "unbounded").verdict == "pass"


def test_several_radii(pictures):
    found = evaluate(honest("cnn"), pictures, THREAT, bridges.function(sign_step), eps=(0.02, 0.1), batch=32)
    assert found.clean.k > found.curve[0].robust.k > found.curve[1].robust.k
    assert check(found, "verified").verdict == check(found, "monotone-eps").verdict == "pass"


def test_a_model_whose_pictures_are_float64(pictures):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    threat = Linf(eps=0.3)
    found = evaluate(net, pictures, threat, bridges.function(sign_step), batch=32, checks=False)
    assert check(found, "verified").verdict == "pass"


def test_what_is_no_attack_is_refused(pictures):
    for thing in (3, Pictures):
        with pytest.raises(OptionError, match="allowed: a callable"):
            bridges.function(thing)
    with pytest.raises(OptionError, match=r"bridges\.function"):
        evaluate(honest("cnn"), pictures, THREAT, sign_step)


# By name


def test_by_name_from_a_file(tmp_path, pictures):
    file = tmp_path / "mine.py"
    file.write_text("def step(model, x, y):\n    return (x + 0.05).clamp(0, 1)\n")
    attack = bridges.build(f"{file}:step")
    assert attack.name == "step"
    assert torch.equal(attack.call(honest("cnn"), *whole(pictures), THREAT), (pictures.x() + 0.05).clamp(0, 1))
    with pytest.raises(ModelError, match="has no function 'stop'; it has step"):
        bridges.build(f"{file}:stop")
    assert bridges.build(f"{file}:step", {"access": "labels"}).access is Access.LABELS
    with pytest.raises(OptionError, match="unknown access 'label'"):
        bridges.build(f"{file}:step", {"access": "label"})
    with pytest.raises(OptionError, match="Leave --set out"):
        bridges.build(f"{file}:step", {"steps": "3"})


def test_unknown_libraries_and_missing_ones(monkeypatch):
    with pytest.raises(OptionError, match=r"'pgd:steps=3'; allowed: pgd alone, .* Write --attack pgd --set steps=3"):
        bridges.build("pgd:steps=3")
    with pytest.raises(OptionError, match=r"unknown library of attacks 'foolbx'.*Did you mean 'foolbox'"):
        bridges.build("foolbx:LinfPGD")
    monkeypatch.setattr("holdfast.bridges.library.import_module", missing)
    for name, mend in INSTALL.items():
        with pytest.raises(OptionError) as raised:
            bridges.build(f"{name}:standard")
        assert str(raised.value).endswith(mend)


def missing(name):
    raise ModuleNotFoundError(f"No module named {name!r}")


# Foolbox


@pytest.fixture
def foolbox():
    return library("foolbox")


@pytest.mark.bridges
def test_foolbox_in_one_table_with_ours(foolbox, pictures, tmp_path):
    theirs = bridges.foolbox(foolbox.attacks.LinfPGD(steps=20))
    row = [holdfast.FGSM(), theirs, PGD(steps=20)]
    found = evaluate(honest("cnn"), pictures, THREAT, row, batch=32, out=tmp_path / "run")
    by = {entry["attack"]: entry["broken"] for entry in found.summary["curve"][0]["by"]}
    assert list(by) == ["fgsm", theirs.name, "pgd"]
    assert sum(by.values()) == found.clean.k - found.robust.k
    assert found.believe
    alone = evaluate(honest("cnn"), pictures, THREAT, theirs, batch=32)
    assert alone.believe
    assert found.robust.k <= alone.robust.k < alone.clean.k
    first = evaluate(honest("cnn"), pictures, THREAT, [theirs, PGD(steps=20)], batch=32, out=tmp_path / "first")
    rows = (first.run / "records.csv").read_text().splitlines()[1:]
    named = [row.rpartition(",")[2] for row in rows]
    assert named.count(theirs.name) == alone.clean.k - alone.robust.k
    assert named.count("pgd") == alone.robust.k - first.robust.k > 0
    # Foolbox: 20 gradients and a look; the runner: a look before and one after.
    held = ~alone.records["broken"][0]
    assert set(alone.records["forward"][0][held].tolist()) == {20 + 1 + 2}
    assert set(alone.records["backward"][0][held].tolist()) == {20}


@pytest.mark.bridges
def test_foolbox_attack_of_another_norm_is_refused_before_any_work(foolbox, pictures, tmp_path):
    with pytest.raises(OptionError, match="made for linf, the threat is l2"):
        evaluate(honest("cnn"), pictures, L2(eps=0.5), bridges.build("foolbox:LinfPGD"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.bridges
def test_foolbox_attacks_that_look_for_the_smallest_change_or_use_labels_only(foolbox, pictures):
    smallest = bridges.foolbox(foolbox.attacks.L2DeepFoolAttack(steps=20))
    found = evaluate(honest("cnn"), pictures, L2(eps=0.5), smallest, batch=32, checks=False)
    assert check(found, "verified").verdict == "pass"
    assert found.robust.k < found.clean.k
    blind = bridges.foolbox(foolbox.attacks.L2AdditiveUniformNoiseAttack(), access=Access.LABELS)
    found = evaluate(honest("cnn"), pictures, L2(eps=3.0), blind, batch=32, checks=False)
    assert check(found, "verified").verdict == "pass"
    assert int(found.records["backward"].sum()) == 0


@pytest.mark.bridges
def test_foolbox_by_name(foolbox):
    attack = bridges.build("foolbox:LinfPGD", {"steps": "7", "rel_stepsize": "1/10", "random_start": "false"})
    assert (attack.name, attack.norms) == ("foolbox:LinfPGD", ("linf",))
    assert "steps=7" in attack.options
    assert "random_start=False" in attack.options
    assert attack.library.startswith("foolbox 3")
    with pytest.raises(OptionError, match="Did you mean 'LinfPGD'"):
        bridges.build("foolbox:LinfPDG")
    with pytest.raises(OptionError, match=r"'stps'.*Did you mean 'steps'"):
        bridges.build("foolbox:LinfPGD", {"stps": "7"})
    with pytest.raises(OptionError, match="allowed: an attack of Foolbox"):
        bridges.foolbox(sign_step)


@pytest.mark.bridges
def test_foolbox_on_the_command_line(foolbox, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from holdfast.cli import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "import torch\n\ndef make():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()\n"
    )
    words = "--model net.py:make --data digits --limit 40 --eps 0.1 --attack foolbox:LinfPGD --set steps=3 --quiet"
    ran = CliRunner().invoke(app, ["evaluate", *words.split(), "--no-checks", "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["attack"]["name"] == "foolbox:LinfPGD"
    ran = CliRunner().invoke(app, ["attack", *words.split(), "--json"])
    assert ran.exit_code == 0, ran.output


# The others


@pytest.mark.bridges
@theirs_to_mend
def test_torchattacks(pictures):
    there = library("torchattacks")
    attack = bridges.torchattacks(there.PGD, {"steps": 20, "alpha": 0.01})
    found = evaluate(honest("cnn"), pictures, THREAT, attack, batch=32)
    assert found.believe
    assert 0 < found.robust.k < found.clean.k
    assert attack.options == "PGD(steps=20, alpha=0.01)"
    smallest = bridges.build("torchattacks:DeepFool", {"steps": "10"})
    assert smallest.minimal
    found = evaluate(honest("cnn"), pictures, L2(eps=0.5), smallest, batch=32, checks=False)
    assert check(found, "verified").verdict == "pass"
    # It states no norm, so the measured size has to tell.
    found = evaluate(honest("cnn"), pictures, L2(eps=0.5), attack, batch=32)
    assert "larger than eps" in check(found, "verified").evidence
    with pytest.raises(OptionError, match=r"allowed: \[0, 1\]"):
        evaluate(honest("cnn"), pictures, Linf(eps=EPS, low=-1), attack)
    assert bridges.build("torchattacks:APGD", {"norm": "L2"}).norms == ("l2",)


@pytest.mark.bridges
@theirs_to_mend
def test_art(pictures):
    there = library("art.attacks.evasion")
    attack = bridges.art(there.ProjectedGradientDescentPyTorch, {"max_iter": 20, "eps_step": 0.01})
    found = evaluate(honest("cnn"), pictures, THREAT, attack, batch=32)
    assert found.believe
    assert 0 < found.robust.k < found.clean.k
    blind = bridges.art(there.SquareAttack, {"max_iter": 20}, access=Access.SCORES)
    found = evaluate(honest("cnn"), pictures, Linf(eps=0.2), blind, batch=32, checks=False)
    assert check(found, "verified").verdict == "pass"
    assert int(found.records["backward"].sum()) == 0
    assert bridges.build("art:FastGradientMethod", {"norm": "2"}).norms == ("l2",)
    with pytest.raises(OptionError, match="unknown option of SquareAttack 'steps'"):
        bridges.build("art:SquareAttack", {"steps": "3"})


@pytest.mark.bridges
@theirs_to_mend
def test_autoattack(pictures):
    attack = bridges.autoattack("custom", ["apgd-ce"])
    pictures = pictures.take(slice(0, 20))
    row = [Noise(tries=2), attack]
    found = evaluate(honest("cnn"), pictures, THREAT, row, checks=False)
    assert check(found, "verified").verdict == "pass"
    assert 0 < found.robust.k < found.clean.k
    again = evaluate(honest("cnn"), pictures, THREAT, row, checks=False)
    assert torch.equal(found.records["confidence_adv"], again.records["confidence_adv"])
    held = evaluate(honest("cnn"), pictures, Linf(eps=1e-6), attack, batch=32, checks=False)
    assert held.robust.k == held.clean.k
    with pytest.raises(OptionError, match="'custom' with the attacks"):
        bridges.autoattack("custom")
    with pytest.raises(OptionError, match="unknown version of pyautoattack"):
        bridges.build("pyautoattack:standrd")


def test_making_an_external_by_hand_is_the_same(pictures):
    by_hand = External(call=lambda model, x, y, threat: sign_step(model, x, y, threat), name="mine")
    x, y = whole(pictures)
    found = run_external(by_hand, honest("cnn"), x, y, THREAT)
    assert torch.equal(found.x_adv, run_external(bridges.function(sign_step), honest("cnn"), x, y, THREAT).x_adv)


@pytest.mark.bridges
@theirs_to_mend
def test_examples_on_the_page_run(foolbox, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs/bridges.md").read_text()
    names = {"torch": torch, "model": honest("cnn"), "pictures": pictures}
    for code in re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(code, "docs/bridges.md", "exec"), names)
    assert [entry["attack"] for entry in names["result"].summary["curve"][-1]["by"]][0::2] == ["fgsm", "pgd"]
    found = run_external(names["attack"], names["model"], *whole(pictures), THREAT)
    assert torch.equal(
        found.x_adv, run_external(bridges.function(sign_step), names["model"], *whole(pictures), THREAT).x_adv
    )
    in_table = [word for row in page.splitlines() for word in re.findall(r"`bridges\.(\w+)\(", row)]
    assert set(in_table) <= set(bridges.__all__)


# What there is elsewhere

COUNTERPARTS = Path(__file__).parents[1] / "docs/counterparts.md"


def classes_of(module):
    return {name for name, thing in vars(module).items() if isinstance(thing, type)}


@pytest.mark.bridges
def test_a_page_says_of_every_attack_elsewhere_what_it_is_called_here():
    foolbox, torchattacks = library("foolbox"), library("torchattacks")
    evasion = importlib.import_module("art.attacks.evasion")
    theirs = set(torchattacks.__all__) | classes_of(evasion)
    theirs |= {name for name in classes_of(foolbox.attacks) if name.endswith("Attack") and name != "Attack"}
    assert len(theirs) > 130
    text = COUNTERPARTS.read_text()
    assert not [name for name in sorted(theirs) if f"`{name}`" not in text]


def test_what_that_page_says_is_here_is_here():
    rows = [line.split("|") for line in COUNTERPARTS.read_text().splitlines() if line.startswith("| `")]
    words = {word for row in rows for word in re.findall(r"`([a-z0-9][a-z0-9-]*)`", row[2])}
    known = {*ATTACKS, *UNIVERSAL, *THREATS}
    options = {"look_ahead", "scales", "diversity", "kernel", "neighbours"}
    assert words - options <= known, words - options - known
    assert len(words) > 30

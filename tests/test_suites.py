"""Suites: what they hold, that the fast one says what the slow one says, and what it holds in reserve."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from evaluate_models import digits, honest
from holdfast.access import Gradient
from holdfast.attacks import APGD, APGDT, PGD, Cut, EoT, Reserve, Square, run
from holdfast.attacks.case import Case
from holdfast.attacks.cut import Course
from holdfast.attacks.eot import around
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.evaluate import evaluate, suite
from holdfast.losses import Goal
from holdfast.threats import L0, L1, L2, Linf
from masked_models import masked
from nets import tiny_case

NORMS = [Linf(eps=0.1), L2(eps=0.5), L1(eps=3.0)]
NAMES = {
    "standard": ["apgd", "apgd-t", "fab-t", "square"],
    "fast": ["apgd", "apgd-t", "fab-t", "square"],
    "full": ["apgd", "apgd", "apgd-t", "fab", "fab-t", "fmn", "ddn", "pdgd", "square", "hop-skip-jump", "ray-s"],
    "random": ["apgd", "apgd"],
}


@pytest.mark.parametrize("threat", NORMS, ids=lambda threat: threat.name)
@pytest.mark.parametrize("name", NAMES)
def test_every_suite_has_its_form_for_each_norm(name, threat):
    attacks = suite(name).within(threat)
    formless = {"linf": ["ddn", "pdgd"], "l2": ["ray-s"], "l1": ["ddn", "pdgd", "hop-skip-jump", "ray-s"]}[threat.name]
    assert [attack.name for attack in attacks] == [each for each in NAMES[name] if each not in formless]
    with pytest.raises(OptionError, match=f"suite '{name}': threat 'l0'; allowed: linf, l2, l1"):
        suite(name).within(L0(eps=3))


def test_full_begins_anew_where_standard_does_not():
    full = suite("full").within(Linf(eps=0.1))
    assert [getattr(attack, "restarts", 1) for attack in full[:5]] == [5, 5, 1, 5, 1]
    assert {attack.loss for attack in full[:2]} == {"cross_entropy", "dlr"}


# ------------------------------------------------------------------------------------------------- cut


@pytest.fixture(scope="module")
def case():
    return tiny_case()


@pytest.mark.parametrize("threat", [Linf(eps=0.1), L2(eps=0.3), L1(eps=0.8)], ids=lambda threat: threat.name)
@pytest.mark.parametrize("attack", [APGD(steps=30, loss="dlr"), APGDT(steps=30), PGD(loss="margin")], ids=repr)
def test_a_cut_lane_is_one_that_fails(attack, threat, case):
    whole = run(attack, case.model, case.x, case.y, threat)
    cut = run(Cut(attack=attack), case.model, case.x, case.y, threat)
    assert not (cut.success & ~whole.success).any(), "what remains takes the same course"
    assert int((whole.success & ~cut.success).sum()) <= 1
    held = ~whole.success
    assert int(held.sum()) >= 3
    assert int(cut.backward[held].sum()) < 0.8 * int(whole.backward[held].sum())


def lanes(n, round_):
    x = torch.full((n, 1, 2, 2), 0.5)
    threat = Linf(eps=0.1)
    draws = Draws(0, torch.arange(n)).at(round_)
    return Case(x, Goal(torch.zeros(n, dtype=torch.int64)), threat, threat.limits(x), draws)


def judged(losses, then, answered, attack, **options):
    """Which lanes are over once `answered` answers are in, the last of them with these losses."""
    n = len(losses)
    case = lanes(n, answered)
    cut = Cut(attack=attack, **options)
    state, _ = attack.start(case)
    loss = torch.tensor(losses)
    logits = torch.tensor([[1.0, 0.0]]).expand(n, 2)
    no = torch.zeros(n, dtype=torch.bool)
    scores = {"points": case.x, "labels": no.long(), "reached": no, "logits": logits}
    answer = Gradient(**scores, losses=(loss,), gradients=(torch.ones_like(case.x),))
    lowest = torch.full((n,), -torch.inf)
    _, query = cut.step(case, Course(state, lowest, torch.tensor(then)), answer)
    return None if query.over is None else query.over.tolist()


def test_a_line_from_the_last_judgement_decides():
    attack = PGD(steps=99, loss="margin", random_start=False)  # 100 questions, judged at 22, 41, ...
    # From 1 to 22 answers by 0.21, so 0.01 an answer: 0.78 more in the 78 that are left.
    assert judged([-0.77, -0.79, -0.5], [-0.98, -1.0, -0.5], 22, attack) == [False, True, True]
    assert judged([-0.77, -0.79, -0.5], [-0.98, -1.0, -0.5], 23, attack) is None, "between judgements nobody is"
    assert judged([-1.5, -1.6], [-1.71, -1.81], 22, attack, slack=2.0) == [False, True]
    assert judged([-0.58, -0.60], [-0.77, -0.79], 41, attack) == [False, True]  # 19 answers later, 59 left


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(OptionError, match="the attack's loss is 'cross_entropy'; allowed: margin"):
        Cut(attack=APGD())
    with pytest.raises(OptionError, match="the attack's loss is None"):
        Cut(attack=Square())
    with pytest.raises(OptionError, match="allowed: an attack"):
        Cut(attack=APGDT)
    for shares in ((), (0.5, 0.2), (0.0,), (0.5, 1.0), (0.3, 0.3)):
        with pytest.raises(OptionError, match="allowed: rising numbers between 0 and 1"):
            Cut(attack=APGDT(), shares=shares)
    with pytest.raises(OptionError, match="slack=0"):
        Cut(attack=APGDT(), slack=0)


# ------------------------------------------------------------------------------------------------- fast


@pytest.mark.parametrize("threat", [Linf(eps=0.06), L2(eps=0.4)], ids=lambda threat: threat.name)
@pytest.mark.parametrize("name", ["mlp", "hardened cnn"])
def test_fast_says_what_standard_says_for_a_tenth_of_its_passes(name, threat):
    pictures = digits().take(slice(0, 40))
    x, y = pictures.x(), pictures.labels
    standard = run(suite("standard").within(threat), honest(name), x, y, threat)
    own = [attack for attack in suite("fast").within(threat) if not isinstance(attack, Reserve)]
    fast = run(own, honest(name), x, y, threat)
    assert int((standard.success != fast.success).sum()) <= 1
    passes = [int(found.forward.sum() + found.backward.sum()) for found in (fast, standard)]
    assert passes[0] < 0.1 * passes[1]


def evaluated(model, attacks, caplog, **options):
    with caplog.at_level(logging.WARNING, logger="holdfast"):
        found = evaluate(model, digits().take(slice(0, 64)), Linf(eps=0.1), attacks, batch=64, **options)
    return found, any("attacks in reserve take part" in message for message in caplog.messages)


ROW = (PGD(steps=10), Reserve(attack=Square(queries=300)))


def test_what_is_in_reserve_stays_there_while_gradients_show_the_way(caplog):
    found, called = evaluated(honest(), suite("fast").within(Linf(eps=0.1)), caplog)
    assert found.believe, found.because
    assert not called
    assert [row["attack"] for row in found.summary["curve"][-1]["by"]] == ["apgd", "apgd-t"]
    assert found.summary["reserves_called"] is False
    assert int(found.records["forward"].max()) < 2000


def test_what_is_in_reserve_is_called_where_a_check_fails(caplog, tmp_path):
    found, called = evaluated(masked("quantised"), ROW, caplog, out=tmp_path)
    assert called
    assert not found.believe
    assert found.summary["curve"][-1]["by"][1]["broken"] > 5
    options = json.loads((tmp_path / "run.json").read_text())["options"]["attack"]["options"]
    assert [("when" in entry, entry["name"]) for entry in options] == [(False, "pgd"), (True, "square")]
    shards = sorted((tmp_path / "shards").iterdir())
    before = [shard.read_bytes() for shard in shards]
    shards[0].unlink()
    evaluated(masked("quantised"), ROW, caplog, out=tmp_path, resume=True)
    assert [shard.read_bytes() for shard in shards] == before, "a resumed run knows what its checks said"


def test_what_is_in_reserve_is_called_where_no_check_tells(caplog):
    found, called = evaluated(honest(), ROW, caplog, checks=False)
    assert called
    assert found.summary["reserves_called"] is True


def test_a_part_of_a_run_cannot_tell(caplog):
    with pytest.raises(OptionError, match="in a part of a run"):
        evaluated(honest(), ROW, caplog, shard=(1, 2), shard_size=32)


def test_averaging_goes_inside_what_is_held_back():
    averaged = [around(attack, 5) for attack in suite("fast").within(Linf(eps=0.1))]
    assert [type(attack) for attack in averaged] == [EoT, EoT, Reserve, Reserve]
    assert [attack.repeats for attack in averaged] == [5, 5, 5, 5]
    assert Cut(attack=EoT(attack=APGDT(), samples=3)).repeats == 3


def test_a_search_on_scores_is_enough_where_gradients_are_dead():
    found = evaluate(masked("thermometer"), digits().take(slice(0, 40)), Linf(eps=0.1), [PGD(), Square(queries=300)])
    assert not found.believe
    assert found.summary["curve"][-1]["by"][1]["broken"] > 3


def test_with_radius_0_nothing_is_suspected():
    found = evaluate(honest(), digits().take(slice(0, 40)), Linf(eps=0.0), PGD())
    told = {check.name: check.verdict for check in found.checks}
    assert told["noise"] == "skipped"
    assert "fail" not in told.values()


def test_reserves_come_last_and_not_alone():
    few = digits().take(slice(0, 8))
    for attacks in ((ROW[1], ROW[0]), (ROW[1],)):
        with pytest.raises(OptionError, match="reserve after all others"):
            evaluate(honest(), few, Linf(eps=0.1), attacks)
    with pytest.raises(OptionError, match="Reserve: attack="):
        Reserve(attack=ROW[1])
    assert replace(ROW[1], attack=Square(queries=5)).rounds == Square(queries=5).rounds

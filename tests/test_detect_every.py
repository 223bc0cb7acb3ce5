"""Every detector that is shipped: who knows it is at least as strong as each known evasion run by itself."""

from functools import cache

import pytest

import detecting
from holdfast import attacks, threats
from holdfast.attacks import OrthogonalPGD
from holdfast.attacks.attack import minimal
from holdfast.detect import DETECTORS
from holdfast.evaluate.detection import detection
from holdfast.evaluate.judge import Judge, evasions
from holdfast.models import MonteCarloDropout

OPTIONS = {"nearest": {"k": "5"}, "vim": {"dimensions": "8"}, "auxiliary": {"eps": "0.15", "epochs": "5"}}
THREAT = threats.Linf(eps=0.15)
SHOWN = 24
every = pytest.mark.parametrize("name", DETECTORS)


def idle(name):
    """An attack of that name that goes nowhere."""
    kind = type("Idle", (OrthogonalPGD,), {"name": name})
    return kind(steps=1, step_size=1e-9, random_start=False)


@cache
def fitted(name):
    """Beside the classifier, or where members are looked at beside Monte Carlo dropout of it."""
    model = detecting.trained()
    committee = MonteCarloDropout(model, passes=3) if name == "mutual-information" else model
    return detecting.fitted(name, OPTIONS.get(name), committee)


def judged(name, attack):
    pictures = detecting.held_out().take(slice(0, SHOWN))
    (one,) = detection(fitted(name), pictures, [attack], THREAT).judged
    return one, Judge(fitted(name).model, pictures, THREAT, threats.L2(eps=1.0), 0, 256)


def alone(judge, one, number):
    """One of the attacks of who knows the detector, by itself.

    Attacks of one name in a list have random numbers of their own: those before it take a step that goes nowhere.
    """
    known = [one.attack, *evasions(one.attack, judge.threat_of(one.attack))]
    before = sum(attack.name == known[number].name for attack in known[:number])
    return judge.search([*[idle(known[number].name)] * before, known[number]], judge.model)


@every
def test_who_knows_a_detector_is_at_least_as_strong_as_who_does_not(name):
    """Picture by picture: what passes by chance is used too. So is the share that is detected no larger."""
    one, judge = judged(name, attacks.build("pgd", {"steps": 10}))
    limit, found, detected = judge.limit, one.adaptive, []
    for unaware in (one.oblivious, one.full):
        passed = unaware.success & (unaware.suspicion.double() <= limit)
        assert not (passed & ~found.success).any()
        detected.append(float((~passed)[unaware.success].double().mean()))
    assert float((~found.success)[one.oblivious.success | found.success].double().mean()) <= min(detected)
    passes = found.suspicion[found.success].double()
    assert not len(passes) or float(passes.max()) <= limit


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["pgd", "ddn"])
@every
def test_who_knows_a_detector_is_at_least_as_strong_as_each_evasion_by_itself(name, attack):
    one, judge = judged(name, attacks.build(attack, {"steps": 10}))
    found = one.adaptive
    for number in range(1 + len(evasions(one.attack, judge.threat_of(one.attack)))):
        other = alone(judge, one, number)
        assert not (other.success & ~found.success).any(), number
        if minimal(one.attack):
            assert (found.size <= other.size + 1e-6)[other.success].all()

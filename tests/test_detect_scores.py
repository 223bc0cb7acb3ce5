"""Scores of unfamiliar pictures as detectors: each with a gradient, and the same again from a file."""

import pytest
import torch
from torch import nn

import detecting
from detecting import check_restored, check_slope, check_split, evaded, fitted, separation, slope, suspected
from holdfast import detect
from holdfast.detect import detector
from holdfast.errors import ModelError
from holdfast.models import Ensemble, MonteCarloDropout
from holdfast.uncertainty import SCORES, score
from holdfast.uncertainty.judging import fit as judged
from holdfast.uncertainty.scores import Batch

OPTIONS = {"nearest": {"k": "5"}, "vim": {"dimensions": "8"}}
INNER = ("mahalanobis", "nearest")  # what may look at another layer than the one that gives the logits
ROWS = [(name, OPTIONS.get(name, {})) for name in SCORES]
ROWS += [(name, {**OPTIONS.get(name, {}), "layer": "5"}) for name in INNER]
every = pytest.mark.parametrize(("name", "options"), ROWS, ids=lambda value: value if isinstance(value, str) else None)


def model_for(name):
    """The classifier, or where members are looked at Monte Carlo dropout of it."""
    return MonteCarloDropout(detecting.trained(), passes=4) if name == "mutual-information" else detecting.trained()


@every
def test_it_says_what_the_score_says(name, options):
    """By the classifier's own pass, what reading features off it and scoring them gives."""
    model, found = model_for(name), fitted(name, options, model_for(name))
    own = {key: value for key, value in options.items() if key != "layer"}
    expected = judged(score(name, own), model, detecting.training(), layer=options.get("layer"))
    x = detecting.held_out().x(slice(30))
    assert found.model.suspicion.gradient == "exact"
    torch.testing.assert_close(
        suspected(found.model.suspicion, model, x), expected.score(x).float(), rtol=1e-5, atol=1e-6
    )


@every
def test_its_gradient_is_finite_and_there(name, options):
    model, found = model_for(name), fitted(name, options, model_for(name))
    gradient = slope(found.model.suspicion, model, detecting.held_out().x(slice(40)))
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize(
    ("name", "options"), [row for row in ROWS if row[0] != "nearest"], ids=lambda v: v if isinstance(v, str) else None
)
def test_its_gradient_is_that_of_differences(name, options):
    model = detecting.doubled()
    model = MonteCarloDropout(model, passes=4) if name == "mutual-information" else model
    found = detect.fit(detector(name, options), model, detecting.training(), detecting.held_out())
    check_slope(found.model.suspicion, model, detecting.smooth_at(10))


@pytest.mark.parametrize("k", [1, 5])
def test_the_gradient_of_the_distance_to_the_nearest_is_that_of_its_definition(k):
    """In float64, which the score itself leaves, so that differences of it would be rounding."""
    model, x = detecting.doubled().eval(), detecting.smooth_at(20)
    suspicion = detector("nearest", {"k": k}).fit(model, detecting.training())

    def unit(x):
        return nn.functional.normalize(model[:8](x), dim=1)

    with torch.no_grad():
        known = unit(detecting.training().x(None, torch.float64))
    x.requires_grad_()
    distance = torch.cdist(unit(x), known).kthvalue(k, dim=1).values
    (expected,) = torch.autograd.grad(distance.sum(), x)
    torch.testing.assert_close(slope(suspicion, model, x.detach()), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [("nearest", {"k": "1"}), ("mahalanobis", {}), ("vim", {})])
def test_the_gradient_is_finite_where_distances_vanish(name, options):
    """At pictures that the detector was fitted on, and where all features are dead."""
    model = detecting.trained()
    suspicion = detector(name, options).fit(model, detecting.training())
    x = detecting.training().x(slice(50))
    assert slope(suspicion, model, x).isfinite().all()
    features = torch.zeros(2, 32, requires_grad=True)
    logits = model[8](features)
    found = suspicion.fitted(Batch(logits, features, torch.full((2,), -1), logits[None]))
    (gradient,) = torch.autograd.grad(found.sum(), features)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["max-probability", "entropy", "max-logit", "energy", "gen"])
@pytest.mark.parametrize("size", [50.0, 800.0, 1e5])
def test_the_gradient_is_finite_where_all_probability_underflows(name, size):
    logits = (size * torch.eye(4, dtype=torch.float64)).requires_grad_()
    found = score(name).fit(None, [])(Batch(logits, logits[:, :0], torch.full((4,), -1), logits[None]))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert found.isfinite().all()
    assert gradient.isfinite().all()


def test_each_member_is_asked_once():
    asked = []
    members = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2)]
    for number, member in enumerate(members):
        member.register_forward_hook(lambda *_, number=number: asked.append(number))
    model = Ensemble(members)
    suspicion = detector("mutual-information").fit(model, detecting.training())
    asked.clear()
    logits, _ = suspicion(model, detecting.held_out().x(slice(5)))
    assert asked == [0, 1]
    assert torch.equal(logits, model(detecting.held_out().x(slice(5))))


def test_members_that_agree_have_a_gradient_too():
    x = detecting.held_out().x(slice(5))
    twins = Ensemble([detecting.trained(), detecting.trained()])
    found = slope(detector("mutual-information").fit(twins, detecting.training()), twins, x)
    assert found.isfinite().all()
    assert (found.abs() < 1e-6).all()  # at 0, from which it cannot fall


@pytest.mark.parametrize("name", ["react", "vim"])
def test_scores_that_compute_logits_want_the_layer_that_gives_them(name):
    with pytest.raises(ModelError, match="'5' gives 32 values, the model 10 logits"):
        detector(name, {"layer": "5"}).fit(detecting.trained(), detecting.training())
    with pytest.raises(ModelError, match="'1' is no linear layer"):
        detector("nearest", {"layer": "1"}).fit(detecting.trained(), detecting.training())


@every
def test_restored_and_split(name, options):
    model, found = model_for(name), fitted(name, options, model_for(name))
    check_restored(found.detector, found.model.suspicion, model, detecting.held_out())
    check_split(found.model.suspicion, model, detecting.held_out().x())


@pytest.mark.parametrize(("name", "least"), [("mahalanobis", 0.65), ("nearest", 0.65), ("entropy", 0.6)])
def test_it_finds_attacks_and_falls_to_those_who_know_it(name, least):
    found = fitted(name, OPTIONS.get(name))
    clean, adversarial = detecting.attacked()
    assert separation(found.model.suspicion, detecting.trained(), clean, adversarial) > least
    pictures = detecting.held_out().take(slice(40))
    broken, of = evaded(found.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * of > 20

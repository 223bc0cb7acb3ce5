"""Guarded models: what they refuse, what attackers learn of it, and attacks on classifier and detector at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import attacks, models, threats
from holdfast.access import Refusal
from holdfast.attacks import EVASIONS, EvasiveCW, OrthogonalAPGD, OrthogonalPGD, build, run, smallest
from holdfast.attacks.beginnings import nearest_elsewhere
from holdfast.attacks.orthogonal_pgd import apart
from holdfast.errors import OptionError
from holdfast.evaluate import verify
from holdfast.losses import Goal
from holdfast.losses.evasion import MISLEAD, SLIP
from holdfast.models.guarded import Guarded, Suspicion, refused_class
from nets import linear


class Along(Suspicion):
    """Suspicion that is linear in the pixels."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, model, x):
        return model(x), x.flatten(1) @ self.weight


def guarded(weight, bias, along, threshold, scale=1.0):
    weight, along = torch.tensor(weight, dtype=torch.float64), torch.tensor(along, dtype=torch.float64)
    model = linear(weight, torch.tensor(bias, dtype=torch.float64))
    return Guarded(model, Along(along), threshold, scale, len(weight))


def band():
    """Two classes that part at 0.5 along the first pixel; above 0.7 along it a picture is refused."""
    return guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [1.0, 0.0], 0.7)


def test_another_type_leaves_the_threshold_its_digits():
    model = guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [1.0, 0.0], 0.7123456789, 3.1415926535)
    for moved in (model.to(torch.bfloat16), model.float(), model.cpu()):
        assert moved is model
        assert (float(moved.threshold), float(moved.scale)) == (0.7123456789, 3.1415926535)
        assert moved.threshold.dtype == torch.float64
    assert model.suspicion.weight.dtype == torch.float32


def test_a_model_without_values_takes_those_of_another():
    model = guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [1.0, 0.0], 0.7123456789, 3.1415926535)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("meta").to_empty(device="cpu").load_state_dict(state)
    assert (float(model.threshold), float(model.scale)) == (0.7123456789, 3.1415926535)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, -0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_rounding_puts_at_the_threshold_is_refused_only_where_it_is_above(threshold, dtype):
    model = guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [1.0, 0.0], threshold).to(dtype)
    x = pictures([threshold, 0.0]).to(dtype)
    above = float(x[0, 0, 0, 0]) > threshold
    assert model.refuses(model.suspect(x)[1]).tolist() == [above]
    assert (model(x)[:, 2] > 0).tolist() == [above]


def pictures(*rows):
    return torch.tensor(rows, dtype=torch.float64).view(len(rows), 1, 1, -1)


@given(st.integers(2, 6), st.integers(0, 2**31))
def test_to_an_attacker_a_refusal_is_the_right_answer(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(40, classes + 1, generator=generator)
    label = torch.randint(classes, (40,), generator=generator)
    merged = Refusal(classes, label).merged(logits, torch.arange(40))
    raw = logits.argmax(1)
    assert torch.equal(merged.argmax(1) == label, (raw == label) | (raw == classes))
    wrong = (raw != label) & (raw != classes)
    assert torch.equal(merged.argmax(1)[wrong], raw[wrong])
    others = torch.arange(classes) != label[:, None]
    assert torch.equal(merged[others], logits[:, :classes][others])


def test_what_is_above_the_threshold_is_refused_and_nothing_else():
    model = band()
    x = pictures([0.1, 0.0], [0.6, 0.0], [0.7, 0.0], [0.7 + 1e-9, 0.0], [1.0, 0.0])
    answer = model(x)
    assert answer.shape == (5, 3)
    assert answer.argmax(1).tolist() == [0, 1, 1, 2, 2]
    plain = model.model(x)
    assert torch.allclose(answer[:, 0] - answer[:, 1], plain[:, 0] - plain[:, 1])
    assert torch.allclose(answer[:, 2], x.flatten(1)[:, 0] - 0.7)


def test_the_class_of_refusal_is_found_through_what_is_put_around():
    model = band()
    assert refused_class(model) == 2
    assert refused_class(models.Cast(model, torch.float64)) == 2
    assert refused_class(model.model) is None

    class Readout(nn.Module):
        """What asks a model of other classes."""

        def __init__(self, inside):
            super().__init__()
            self.model = inside

    assert refused_class(Readout(model)) is None
    assert refused_class(lambda x: x) is None


@pytest.mark.parametrize("name", ["pgd", "apgd", "fgsm", "nes", "spsa"])
def test_attacks_look_for_what_is_wrong_and_not_refused(name):
    """The whole radius leads past the band between 0.5 and 0.7, in which alone the model can be fooled."""
    model, x = band(), pictures([0.3, 0.2], [0.35, 0.9], [0.28, 0.5])
    y = torch.zeros(3, dtype=torch.int64)
    options = {"fgsm": {}, "pgd": {"step_size": "0.2"}}.get(name, {})
    found = run(build(name, options), model, x, y, threats.Linf(eps=0.6))
    judged = verify(model, x, found.x_adv, y, norm="linf", eps=0.6, refuse_nothing=False)
    assert torch.equal(found.success, judged.success)
    at = found.x_adv.flatten(1)[:, 0]
    assert ((at[found.success] > 0.5) & (at[found.success] <= 0.7 + 1e-9)).all()
    if name != "fgsm":  # its one step leads past the band
        assert found.success.all()
    assert not run(build(name, options), model, x, y, threats.Linf(eps=0.1)).success.any()


def test_searches_by_labels_stay_in_the_band():
    model, x = band(), pictures([0.3, 0.2], [0.35, 0.9])
    begin = pictures([0.65, 0.1], [0.6, 0.2])
    attack = build("hop-skip-jump", {"queries": 300})
    found = smallest(attack, model, x, torch.zeros(2, dtype=torch.int64), threats.L2(eps=1.0), beginning=begin)
    assert found.success.all()
    at = found.x_adv.flatten(1)[:, 0]
    assert ((at > 0.5) & (at <= 0.7 + 1e-9)).all()
    assert (found.size < 0.8 * (begin - x).flatten(1).norm(dim=1)).all()


def test_searches_by_labels_do_not_begin_at_what_is_refused(monkeypatch):
    """The nearest picture of another class is refused; the next one is not."""
    model = guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [0.0, 1.0], 0.7)
    x, y = pictures([0.4, 0.2], [0.501, 0.75], [0.99, 0.2]), torch.tensor([0, 1, 1])
    begun = []

    def watched(*given):
        begun.append(nearest_elsewhere(*given))
        return begun[-1]

    monkeypatch.setattr("holdfast.attacks.engine.nearest_elsewhere", watched)
    found = smallest(build("hop-skip-jump", {"queries": 20}), model, x, y, threats.L2(eps=1.0))
    assert torch.equal(begun[0][0], x[2])
    assert found.success[0]


def test_a_target_must_be_reached_and_not_refused():
    model, x = band(), pictures([0.3, 0.2])
    y, target = torch.tensor([0]), torch.tensor([1])
    found = run(build("pgd", {"step_size": "0.05"}), model, x, y, threats.Linf(eps=0.6), target=target)
    assert found.success.all()
    assert 0.5 < float(found.x_adv.flatten()[0]) <= 0.7


def test_the_verifier_does_not_take_a_refusal_for_a_success():
    model, x = band(), pictures([0.3, 0.2], [0.3, 0.2])
    x_adv = pictures([0.9, 0.2], [0.6, 0.2])
    judged = verify(model, x, x_adv, torch.zeros(2, dtype=torch.int64), norm="linf", eps=0.6)
    assert judged.prediction_adv.tolist() == [2, 1]
    assert judged.success.tolist() == [False, True]


def test_a_picture_that_is_refused_as_it_is_is_no_success():
    model, x = band(), pictures([0.9, 0.2])
    found = run(build("pgd"), model, x, torch.tensor([1]), threats.Linf(eps=0.05))
    assert not found.success.any()


@pytest.mark.parametrize("name", EVASIONS)
def test_attacks_on_both_need_both(name):
    with pytest.raises(OptionError, match="attacks a classifier and its detector, and the model has none"):
        run(build(name), band().model, pictures([0.3, 0.2]), torch.tensor([0]), threats.L2(eps=1.0))


def test_they_see_classifier_and_detector_apart():
    logits, goal = torch.tensor([[0.0, -2.0, 3.0], [-1.0, 0.0, -4.0]]), Goal(torch.tensor([0, 0]))
    assert MISLEAD(logits, goal).tolist() == [-2.0, 1.0]
    assert SLIP(logits, goal).tolist() == [-3.0, 4.0]


BOTH = ("orthogonal", "selective")
L2, LINF, L1 = threats.L2(eps=0.6), threats.Linf(eps=0.6), threats.L1(eps=0.8)
CORNERS = [(OrthogonalPGD, projection, threat) for projection in BOTH for threat in (L2, LINF, L1)]
CORNERS += [(OrthogonalAPGD, "selective", threat) for threat in (L2, LINF, L1)]
CORNERS += [(OrthogonalAPGD, "orthogonal", L2)]  # long first steps along an axis go past what the box lets it take back


@pytest.mark.parametrize(("kind", "projection", "threat"), CORNERS)
def test_orthogonal_steps_fool_the_one_and_pass_the_other(kind, projection, threat):
    """To be misled the first pixel must rise, which is suspicious unless the second falls."""
    model = guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [1.0, 1.0], 0.7)
    x, y = pictures([0.3, 0.35], [0.25, 0.4]), torch.zeros(2, dtype=torch.int64)
    found = run(kind(projection=projection), model, x, y, threat)
    at = found.x_adv.flatten(1)
    assert found.success.all()
    assert ((at[:, 0] > 0.5) & (at.sum(1) <= 0.7 + 1e-9)).all()


def test_auto_pgd_calls_progress_what_is_behind():
    """The step is halved where neither margin that is behind rises: the best point is the one nearest to both goals."""
    model = guarded([[0.0, 0.0], [1.0, 0.0]], [0.0, -0.5], [1.0, 1.0], 0.7)
    x, y = pictures([0.3, 0.35]), torch.zeros(1, dtype=torch.int64)
    seen = []

    class Watched(OrthogonalAPGD):
        def step(self, case, at, answer):
            on, query = super().step(case, at, answer)
            seen.append((float(torch.minimum(*answer.losses)), float(on.loss)))
            return on, query

    run(Watched(steps=12), model, x, y, threats.Linf(eps=0.6), aim="highest_loss")
    behind, best = zip(*seen, strict=True)
    assert list(best) == [max(behind[: place + 1]) for place in range(len(behind))]
    assert len(set(best)) > 1


def test_what_is_left_of_a_gradient_is_orthogonal_or_the_gradient_itself():
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(4, 1, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    two[1], two[2] = 2 * one[1], 0.0
    left = apart(one, two)
    products = (left * two).flatten(1).sum(1)
    assert products[[0, 3]].abs().max() < 1e-12
    assert torch.equal(left[1:3], one[1:3])
    along = (left * one).flatten(1).sum(1)
    assert (along > 0).all()


def test_evasive_cw_comes_near_the_smallest_change_that_does_both():
    """Past two planes: the nearest point of where both are passed is known."""
    model = guarded([[0.0, 0.0], [4.0, 0.0]], [0.0, -2.0], [3.0, 3.0], 2.1)
    x = pictures([0.3, 0.35], [0.2, 0.1], [0.35, 0.6])
    # First x0 > 0.5, then x0 + x1 <= 0.7: where the foot on the first plane is suspicious, the nearest is the corner.
    nearest = torch.tensor([[0.5, 0.2], [0.5, 0.1], [0.5, 0.2]], dtype=torch.float64)
    smallest_size = (nearest - x.flatten(1)).norm(dim=1)
    y = torch.zeros(3, dtype=torch.int64)
    found = smallest(EvasiveCW(), model, x, y, threats.L2(eps=1.0))
    assert found.success.all()
    assert (found.size >= smallest_size * (1 - 1e-9)).all()
    assert (found.size <= 1.1 * smallest_size + 1e-3).all()


def test_evasive_cw_leads_by_the_confidence_over_the_label_and_over_refusal():
    """By 0.3 logits each, x0 must be 0.575 and x0 + x1 at most 0.6: the corner of both is the nearest."""
    model = guarded([[0.0, 0.0], [4.0, 0.0]], [0.0, -2.0], [3.0, 3.0], 2.1)
    x, y = pictures([0.3, 0.35], [0.2, 0.1]), torch.zeros(2, dtype=torch.int64)
    corner = torch.tensor([0.575, 0.025], dtype=torch.float64)
    found = smallest(EvasiveCW(), model, x, y, threats.L2(eps=1.0), confidence=0.3)
    assert found.success.all()
    nearest = (corner - x.flatten(1)).norm(dim=1)
    assert (found.size >= nearest * (1 - 1e-9)).all()
    assert (found.size <= 1.1 * nearest).all()


def test_evasive_cw_raises_the_weight_of_what_fails():
    model = guarded([[0.0, 0.0], [4.0, 0.0]], [0.0, -2.0], [3.0, 3.0], 2.1)
    x, y = pictures([0.3, 0.35]), torch.tensor([0])
    for weights in ({"first_c": 10.0, "first_d": 1e-5}, {"first_c": 1e-5, "first_d": 10.0}):
        found = smallest(EvasiveCW(**weights), model, x, y, threats.L2(eps=1.0))
        assert found.success.all()


def test_evasive_cw_beats_one_that_knows_no_detector():
    model = guarded([[0.0, 0.0], [4.0, 0.0]], [0.0, -2.0], [3.0, 3.0], 2.1)
    x, y = pictures([0.3, 0.35]), torch.tensor([0])
    unaware = smallest(build("cw"), model.model, x, y, threats.L2(eps=1.0))
    with torch.no_grad():
        assert model(unaware.x_adv).argmax(1).tolist() == [2]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (OrthogonalPGD, {"steps": 0}),
        (OrthogonalPGD, {"projection": "both"}),
        (OrthogonalPGD, {"step_size": 0.0}),
        (OrthogonalAPGD, {"steps": 0}),
        (OrthogonalAPGD, {"projection": "both"}),
        (EvasiveCW, {"searches": 0}),
        (EvasiveCW, {"first_d": -1.0}),
    ],
)
def test_bad_options_are_refused(kind, options):
    with pytest.raises(OptionError, match="allowed"):
        kind(**options)


@pytest.mark.parametrize("attack", [OrthogonalPGD(steps=10), OrthogonalAPGD(steps=10)], ids=lambda one: one.name)
def test_gradients_do_not_depend_on_the_batch(attack):
    model = band()
    x, y = (
        torch.rand(9, 1, 1, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        torch.zeros(9).long(),
    )
    whole = run(attack, model, x, y, threats.Linf(eps=0.6), batch=9)
    parts = run(attack, model, x, y, threats.Linf(eps=0.6), batch=2)
    assert torch.allclose(whole.x_adv, parts.x_adv)
    assert torch.equal(whole.success, parts.success)


def test_the_model_is_given_back_as_found():
    model = band().train()
    run(attacks.build("apgd"), model, pictures([0.3, 0.2]), torch.tensor([0]), threats.Linf(eps=0.6))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model.model, nn.Module)

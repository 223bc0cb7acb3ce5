"""DeepFool against its published loop, and what it and SuperDeepFool promise beyond the tables."""

import pytest
import torch

from holdfast.attacks import DeepFool, SuperDeepFool, run, smallest
from holdfast.errors import OptionError
from holdfast.threats import L2, Linf
from nets import linear, tiny_case


@pytest.fixture
def case():
    found = tiny_case()
    found.model.eval()
    return found


def published(model, x, y, kind, classes):
    """The published loop for one picture far from the box's sides: its last point."""
    total, point = torch.zeros_like(x), x
    for _ in range(50):
        asked = point.clone().requires_grad_()
        logits = model(asked)[0]
        if int(logits.argmax()) != y:
            break
        moves = []
        for k in classes:
            lead = logits[k] - logits[y]
            (w,) = torch.autograd.grad(lead, asked, retain_graph=True)
            gap = lead.detach().abs()
            if kind is L2:
                moves.append((float(gap / w.norm()), gap * w / w.norm() ** 2))
            else:
                moves.append((float(gap / w.abs().sum()), gap * w.sign() / w.abs().sum()))
        total = total + min(moves, key=lambda move: move[0])[1]
        point = x + 1.02 * total
    return point


@pytest.mark.parametrize("kind", [L2, Linf], ids=lambda kind: kind.name)
@pytest.mark.parametrize("most", [None, 1])
def test_follows_the_published_loop(kind, most, case):
    x = 0.45 + 0.1 * case.x
    with torch.no_grad():
        logits = case.model(x)
    y = logits.argmax(1)
    found = smallest(DeepFool(candidates=most), case.model, x, y, kind(eps=0))
    assert found.success.all()
    compared = 0
    for i in range(len(x)):
        order = logits[i].argsort(descending=True).tolist()[1:]
        want = published(case.model, x[i : i + 1], int(y[i]), kind, order[:most])
        # Not beyond the box, where steps are cut.
        if want.min() > 0 and want.max() < 1:
            torch.testing.assert_close(found.x_adv[i : i + 1], want, rtol=1e-6, atol=1e-6)
            compared += 1
    assert compared >= 10


def test_one_step_on_a_linear_model_and_its_passes():
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([[[[0.6, 0.5, 0.3]]]], dtype=torch.float64)
    found = smallest(DeepFool(), linear(weight), x, torch.tensor([0]), L2(eps=0))
    # The second class is nearest: a gap of 0.1 over the length of (-1, 1, 0).
    assert float(found.size) == pytest.approx(1.02 * 0.1 / 2**0.5)
    assert int(found.forward) == 3  # the unchanged picture, the question and the look
    assert int(found.backward) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_picture_on_the_boundary_leaves_it(dtype):
    weight = torch.tensor([[1.0, 0.3], [0.3, 1.0]], dtype=dtype)
    x = torch.full((1, 1, 1, 2), 0.4, dtype=dtype)
    found = smallest(DeepFool(), linear(weight), x, torch.tensor([0]), Linf(eps=0))
    assert found.success.all()
    assert float(found.size) < 1e-5


def test_a_target_costs_one_gradient_a_step(case):
    target = (case.y + 1) % 4
    found = smallest(DeepFool(), case.model, case.x, case.y, L2(eps=0), target=target)
    assert (found.backward <= found.forward).all()
    assert torch.equal(case.model(found.x_adv[found.success]).argmax(1), target[found.success])


def test_the_confidence_is_reached(case):
    found = smallest(DeepFool(), case.model, case.x, case.y, L2(eps=0), confidence=0.05)
    logits = case.model(found.x_adv[found.success]).detach()
    y = case.y[found.success]
    lead = logits.scatter(1, y[:, None], -torch.inf).amax(1) - logits.gather(1, y[:, None])[:, 0]
    assert found.success.float().mean() > 0.9
    assert (lead >= 0.05 - 1e-9).all()


def test_the_projection_makes_changes_smaller(case):
    plain, projected = (smallest(a, case.model, case.x, case.y, L2(eps=0)) for a in (DeepFool(), SuperDeepFool()))
    assert projected.success.all()
    assert (projected.size <= plain.size * (1 + 1e-9)).float().mean() > 0.9
    assert projected.size.median() < plain.size.median()


def test_only_attacks_that_may_see_scores_are_shown_the_logits(case):
    seen = []

    class Looks(DeepFool):
        def start(self, given):
            seen.append(given.logits)
            return super().start(given)

    run(Looks(steps=1), case.model, case.x, case.y, L2(eps=0.1))
    torch.testing.assert_close(seen[0], case.model(case.x[case.model(case.x).argmax(1) == case.y]).detach())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DeepFool(steps=0), "DeepFool: steps=0; allowed: a whole number from 1 up"),
        (lambda: DeepFool(candidates=0), "candidates=0"),
        (lambda: DeepFool(overshoot=-0.1), "overshoot=-0.1"),
        (lambda: SuperDeepFool(deepfool_steps=0), "SuperDeepFool: deepfool_steps=0"),
        (lambda: SuperDeepFool(projections=0), "projections=0"),
    ],
)
def test_wrong_options_say_what_is_allowed(make, text):
    with pytest.raises(OptionError, match=text):
        make()

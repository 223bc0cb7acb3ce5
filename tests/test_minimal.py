"""DDN, FMN and PDPGD: their schedules, the published step in a plain loop, what they must not repeat, wrong options."""

import math

import pytest
import torch
from torch import nn

from holdfast.attacks import DDN, FMN, PDPGD, run, smallest
from holdfast.errors import OptionError
from holdfast.threats import L2, NORMS, Linf
from nets import linear, tiny_case

ATTACKS = [DDN(steps=40), FMN(steps=40), PDPGD(steps=40)]
every = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


@pytest.fixture(scope="module")
def case():
    return tiny_case()


def test_ddn_is_the_published_step(case):
    """Written out plainly, in the box's middle, where it cuts nothing off."""
    x, y, steps = 0.5 + 0.1 * (case.x[10:20] - 0.5), case.y[10:20], 12
    case.model.eval()
    y = case.model(x).argmax(1)
    delta, radius = torch.zeros_like(x), torch.full((10,), 0.1, dtype=torch.float64)
    best = torch.full((10,), torch.inf, dtype=torch.float64)
    for k in range(steps + 1):
        point = (x + delta).requires_grad_()
        logits = case.model(point)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y, reduction="sum"), point)
        won = logits.argmax(1) != y
        best = torch.where(won, torch.minimum(best, delta.flatten(1).norm(dim=1)), best)
        alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * k / steps)) / 2
        delta = delta + alpha * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        radius = torch.where(won, 0.95 * radius, 1.05 * radius)
        delta = delta * (radius / delta.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    case.model.train()
    found = smallest(DDN(steps=steps, radius=0.1), case.model, x, y, L2(eps=0))
    assert torch.equal(found.success, best.isfinite())
    torch.testing.assert_close(found.size[found.success], best[found.success])


def test_ddn_rounds_to_grey_levels(case):
    found = smallest(DDN(steps=20, levels=16), case.model, case.x, case.y, L2(eps=0))
    asked = found.success & ~found.start_wrong
    grey = found.x_adv[asked] * 15
    torch.testing.assert_close(grey, grey.round(), rtol=0, atol=1e-9)
    assert asked.any()


def steep_background():
    """Half the values at 0 that the gradient wants lower, and one other that alone can bring success."""
    weight = torch.cat([torch.ones(1, 63), 0.5 * -torch.ones(1, 1)], 1).double()
    return linear(torch.cat([weight, -weight]), torch.tensor([0.2, 0.0]).double())


@pytest.mark.parametrize("kind", NORMS.values(), ids=list(NORMS))
@pytest.mark.parametrize("attack", ATTACKS[1:], ids=lambda attack: attack.name)
def test_values_at_the_side_of_the_box_do_not_hide_the_boundary(attack, kind):
    """The boundary is at 0.2; by the whole gradient it would be 40 times nearer in L2, where nothing is."""
    x = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    found = smallest(attack, steep_background(), x, torch.tensor([0, 0]), kind(eps=0))
    assert found.success.all()
    assert (found.size <= (1 if kind.grain else 0.25)).all()


@every
def test_slopes_that_are_not_finite_are_passed_over(attack, case):
    class Odd(nn.Module):
        """Answers like another model, with slopes of two values that are not finite."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            odd = x.clone()
            if odd.requires_grad:
                odd.register_hook(spoiled)
            return self.inner(odd)

    def spoiled(gradient):
        gradient = gradient.clone()
        gradient[:, 0, 0, 0] = torch.nan
        gradient[:, 0, 0, 1] = torch.inf
        return gradient

    threat = L2(eps=0)
    found = smallest(attack, Odd(case.model), case.x, case.y, threat)
    assert found.success.float().mean() > 0.9


@every
def test_more_steps_find_smaller_changes(attack, case):
    few, many = (
        smallest(type(attack)(steps=steps), case.model, case.x, case.y, L2(eps=0)).size.median() for steps in (10, 80)
    )
    assert many < few


def test_ddn_has_a_form_for_l2_only(case):
    with pytest.raises(OptionError, match=r"ddn: threat 'linf'; allowed: l2"):
        run(DDN(), case.model, case.x, case.y, Linf(eps=0.1))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DDN(gamma=1.0), r"DDN: gamma=1.0; allowed: a number between 0 and 1"),
        (lambda: DDN(levels=1), r"DDN: levels=1; allowed: 0, or a whole number from 2 up"),
        (lambda: DDN(radius=0.0), r"DDN: radius=0.0; allowed: a finite number above 0"),
        (lambda: FMN(last_gamma=0.0), r"FMN: last_gamma=0.0"),
        (lambda: FMN(step_size=math.nan), r"FMN: step_size=nan"),
        (lambda: PDPGD(first_ratio=2.0), r"PDPGD: first_ratio=2.0"),
        (lambda: PDPGD(steps=0), r"PDPGD: steps=0"),
    ],
)
def test_wrong_options_say_what_is_allowed(make, text):
    with pytest.raises(OptionError, match=text):
        make()


@pytest.mark.parametrize("attack", [DDN(), FMN()], ids=repr)  # PDPGD waits for a slope
def test_a_flat_start_is_left(attack):
    """No slope at the picture: a dead unit. DDN and FMN take a random direction there."""
    model = nn.Sequential(
        linear(torch.tensor([[1.0, -2.0], [-1.0, 1.0]]).double(), torch.tensor([-0.1, -0.1]).double()),
        nn.ReLU(),
        linear(torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double(), torch.tensor([0.05, 0.0]).double()),
    )
    x = torch.full((8, 1, 1, 2), 0.5).double()
    x[:, 0, 0, 0] = 0.45
    y = model(x).argmax(1)
    assert smallest(attack, model, x, y, L2(eps=0)).success.all()

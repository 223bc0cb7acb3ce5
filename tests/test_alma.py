"""ALMA: its penalty, its constraint and its first step."""

import pytest
import torch

from holdfast.attacks import ALMA, smallest
from holdfast.attacks.alma import penalty_slope, short_by, slope_of_size
from holdfast.errors import OptionError
from holdfast.losses import Goal
from holdfast.threats import L1, L2
from nets import tiny_case


def test_slope_is_that_of_the_published_penalty():
    y = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    mu, rho = 0.7, 1.3
    p2 = torch.where(y >= 0, mu * y + mu * rho * y**2 + rho**2 * y**3 / 6, mu * y / (1 - rho * y.clamp_max(0)))
    (want,) = torch.autograd.grad(p2.sum(), y)
    torch.testing.assert_close(penalty_slope(y.detach(), torch.tensor(rho), torch.tensor(mu).double()), want)


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_constraint_is_met_where_the_goal_is_reached(classes):
    """Towards a target too, where a third class may lead."""
    logits = torch.randn(200, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.zeros(200, dtype=torch.int64)
    for goal in (Goal(y), Goal(y, y + 1), Goal(y, y + 1, confidence=0.5)):
        assert torch.equal(short_by(logits, goal) > 0, goal.reached(logits))


def test_slope_of_size():
    delta = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    torch.testing.assert_close(slope_of_size(L2(eps=0), delta.clone()), torch.tensor([[0.6, -0.8], [0.0, 0.0]]))
    torch.testing.assert_close(slope_of_size(L1(eps=0), delta.clone()), torch.tensor([[1.0, -1.0], [0.0, 0.0]]))


def test_more_steps_find_smaller_changes():
    case = tiny_case()
    short, long = (
        smallest(ALMA(steps=n, smoothing=0.5), case.model, case.x, case.y, L2(eps=0)).size.mean() for n in (20, 200)
    )
    assert long < short


def test_wrong_options():
    with pytest.raises(OptionError, match="smoothing=1"):
        ALMA(smoothing=1.0)
    with pytest.raises(OptionError, match="steps=0"):
        ALMA(steps=0)

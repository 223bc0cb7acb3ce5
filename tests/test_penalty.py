"""Attacks that weigh a size against the goal: Adam as torch has it, the weight's search, values at the box, options."""

import pytest
import torch

from holdfast.attacks import CW, CWL0, EAD, CWLinf, Regularised, smallest
from holdfast.attacks.cw_l0 import fixed
from holdfast.attacks.minimal import slope_of_size
from holdfast.attacks.penalty import Adam, Weight
from holdfast.errors import OptionError
from holdfast.threats import L1, L2, Linf
from nets import linear


def test_adam_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    ours = theirs = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=generator)
    theirs = theirs.clone().requires_grad_()
    adam, reference = Adam.fresh(ours), torch.optim.Adam([theirs], lr=0.03)
    for _ in range(6):
        gradient = torch.randn(ours.shape, dtype=torch.float64, generator=generator)
        adam, move = adam.descend(gradient, 0.03)
        ours = ours + move
        theirs.grad = gradient
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_weight_grows_tenfold_then_halves_the_gap_lane_by_lane():
    weight, yes = Weight.first(torch.zeros(2, 1, 1, 1), 0.1), torch.tensor([True, True])
    weight = weight.next(torch.tensor([False, True]), yes)
    torch.testing.assert_close(weight.value, torch.tensor([1.0, 0.05]))
    weight = weight.next(torch.tensor([True, False]), torch.tensor([True, False]))
    torch.testing.assert_close(weight.value, torch.tensor([0.55, 0.05]))
    assert weight.searches.tolist() == [2, 1]


def test_what_matters_least_is_fixed_with_all_that_is_not_changed():
    delta = torch.tensor([[0.0, 0.1, 0.2, 0.3]]).view(1, 1, 2, 2)
    gradient = torch.tensor([[9.0, 1.0, 0.1, 1.0]]).view(1, 1, 2, 2)
    assert fixed(torch.ones_like(delta), delta, gradient).flatten().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("threat", [L2(eps=0), L1(eps=0), Linf(eps=0)], ids=lambda threat: threat.name)
def test_the_size_pulls_nowhere_at_the_picture(threat):
    assert (slope_of_size(threat, torch.zeros(2, 1, 2, 2)) == 0).all()


@pytest.mark.parametrize("attack", [CW(searches=5), CW(searches=5, box="tanh")], ids=lambda attack: attack.box)
def test_values_at_the_sides_of_the_box_move(attack):
    """All values lie at exactly 0 or 1, and the boundary is at a change of 0.3 of each."""
    x = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64).view(1, 1, 2, 2)
    way = 1 - 2 * x.flatten()
    model = linear(torch.stack([0 * way, way]), torch.tensor([0.0, -1.2 - float(way @ x.flatten())]))
    found = smallest(attack, model, x, torch.tensor([0]), L2(eps=0))
    assert found.success.all()
    assert float(found.size[0]) == pytest.approx(0.6, rel=0.02)


@pytest.mark.parametrize("made", [CW, CWL0, CWLinf, EAD, Regularised])
@pytest.mark.parametrize("wrong", [{"steps": 0}, {"step_size": 0.0}])
def test_wrong_options_are_refused(made, wrong):
    with pytest.raises(OptionError, match="allowed"):
        made(**wrong)

"""The search for the smallest radius of an attack."""

import pytest
import torch

from holdfast.attacks import APGDT, FAB, FGSM, PGD, Bisect, BisectedAPGD, Square, build, smallest
from holdfast.errors import OptionError
from holdfast.threats import L2, Linf
from nets import linear, tiny_case

WEIGHT = torch.tensor([[1.0, -2.0, 3.0], [-1.0, 2.0, -3.0]], dtype=torch.float64)


def test_one_step_finds_the_exact_radius_of_a_linear_model():
    """FGSM is exact there, so only the search itself can be off, by a thousandth."""
    x = torch.tensor([[[[0.6, 0.3, 0.5]]], [[[0.4, 0.7, 0.3]]]], dtype=torch.float64)
    model = linear(WEIGHT)
    logits = model(x).detach()
    exact = (logits[:, 0] - logits[:, 1]).abs() / (WEIGHT[0] - WEIGHT[1]).abs().sum()
    found = smallest(Bisect(attack=FGSM(), searches=40), model, x, logits.argmax(1), Linf(eps=0))
    assert found.success.all()
    assert (found.size <= exact * 1.0011).all()
    assert (found.size >= exact).all()


def test_first_radius_doubles_until_a_run_succeeds():
    """The only class to reach is further than the first radius; a search that ended at a failure would miss it."""
    x = torch.full((1, 1, 1, 3), 0.5, dtype=torch.float64)
    model = linear(WEIGHT, torch.tensor([2.0, 0.0], dtype=torch.float64))
    found = smallest(Bisect(attack=FGSM(), searches=30), model, x, torch.tensor([0]), Linf(eps=0))
    assert found.success.all()
    assert 1 / 16 < float(found.size) < 0.5


@pytest.mark.parametrize("attack", [APGDT(steps=6, targets_tried=2), Square(queries=12)], ids=lambda a: a.name)
def test_other_attacks_may_be_inside(attack):
    case = tiny_case()
    found = smallest(Bisect(attack=attack, searches=6), case.model, case.x, case.y, L2(eps=0))
    assert found.success.float().mean() > 0.8


def test_cost_is_bounded():
    case = tiny_case()
    found = smallest(BisectedAPGD(steps=5, searches=4), case.model, case.x, case.y, L2(eps=0))
    assert int(found.forward.max()) <= 1 + 4 * 6
    assert int(found.backward.max()) <= 4 * 6 - 1


def test_options():
    assert build("bisect", {"steps": "7", "searches": "3"}) == BisectedAPGD(steps=7, searches=3)
    with pytest.raises(OptionError, match="allowed: attacks that heed the radius"):
        Bisect(attack=FAB())
    with pytest.raises(OptionError, match="searches=0"):
        Bisect(attack=PGD(), searches=0)
    case = tiny_case(6)
    with pytest.raises(OptionError, match="Set ahead=1"):
        smallest(Bisect(attack=Square(queries=8, ahead=4)), case.model, case.x, case.y, L2(eps=0))

"""Sigma-zero, against its published formula."""

import math

import pytest
import torch
from torch.nn import functional

from holdfast.attacks import SigmaZero, smallest
from holdfast.errors import OptionError
from holdfast.threats import L0
from nets import linear, tiny_case


def plainly(model, x, y, steps, sigma=1e-3, threshold=0.3):
    """(steps + 1) points asked about, of one picture after the paper's algorithm."""
    delta = torch.zeros_like(x, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=0.1)
    points = [x.clone()]
    for _ in range(steps):
        logits = model(x + delta)
        own = functional.one_hot(y, logits.shape[1]).bool()
        lead = (logits[own] - logits[~own].max()).sum()
        loss = lead.clamp_min(0) + (delta.square() / (delta.square() + sigma)).mean()
        (gradient,) = torch.autograd.grad(loss, delta)
        delta.grad = gradient / gradient.abs().max()
        adam.step()
        schedule.step()
        with torch.no_grad():
            delta.copy_((x + delta).clamp(0, 1) - x)
            rate = 0.01 * schedule.get_last_lr()[0]
            threshold = min(1.0, max(0.0, threshold + (rate if lead < 0 else -rate)))
            delta[delta.abs() < threshold] = 0
        points.append((x + delta).detach())
    return points


def test_takes_the_published_course():
    case = tiny_case(12)
    case.model.eval()
    x, y = case.x[5:], case.y[5:]
    found = smallest(SigmaZero(steps=15), case.model, x, y, L0(eps=0))
    for i in range(len(x)):
        points = torch.cat(plainly(case.model, x[i : i + 1], y[i : i + 1], 15))
        with torch.no_grad():
            won = case.model(points).argmax(1) != y[i]
        sizes = (points != x[i]).flatten(1).sum(1)[won]
        assert bool(found.success[i]) == bool(won.any())
        assert not won.any() or int(found.size[i]) == int(sizes.min())


def test_box_of_another_width_gives_the_same_changes():
    case = tiny_case(20)
    case.model.eval()
    wide = torch.nn.Sequential(Shift(), case.model)
    found = smallest(SigmaZero(steps=40), case.model, case.x, case.y, L0(eps=0))
    other = smallest(SigmaZero(steps=40), wide, 2 * case.x - 1, case.y, L0(eps=0, low=-1.0))
    assert torch.equal(found.size, other.size)


class Shift(torch.nn.Module):
    def forward(self, x):
        return (x + 1) / 2


def test_one_value_where_one_is_enough():
    model = linear(torch.tensor([[5.0, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 1.0]]))
    found = smallest(SigmaZero(steps=60), model, torch.tensor([[[[1.0, 1.0, 0.5, 0.5]]]]), torch.tensor([0]), L0(eps=0))
    assert found.size.tolist() == [1.0]
    assert math.isclose(float((found.x_adv[0, 0, 0, 1:] - torch.tensor([1.0, 0.5, 0.5])).abs().sum()), 0)


def test_wrong_options():
    with pytest.raises(OptionError, match="steps=0"):
        SigmaZero(steps=0)
    with pytest.raises(OptionError, match="sigma=0"):
        SigmaZero(sigma=0.0)
    with pytest.raises(OptionError, match="threshold=-1"):
        SigmaZero(threshold=-1.0)

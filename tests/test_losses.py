"""Losses against float64 formulas written again in numpy, and the properties that attacks lean on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from holdfast.errors import OptionError
from holdfast.lanes import take
from holdfast.losses import OBJECTIVES, Goal, formulas, objective

few = settings(deadline=None, max_examples=15)
CASES = [(name, targeted) for name in OBJECTIVES for targeted in (False, True)]
every = pytest.mark.parametrize(("name", "targeted"), CASES, ids=lambda v: str(v))


def some(k, seed, n=16, scale=3.0, dtype=torch.float64):
    """Random logits (n, k), labels, and targets that differ from them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    target = (y + rng.integers(1, k, size=n)) % k
    logits = torch.tensor(scale * rng.standard_normal((n, k)), dtype=dtype)
    return logits, torch.tensor(y), torch.tensor(target)


def oracle(name, z, y, t):
    """One row, in plain numpy: the value that the objective of that name should have."""
    k, s = len(z), np.sort(z)[::-1]
    best_other = max(z[j] for j in range(k) if j != y)
    if name == "cross_entropy":
        return logsumexp(z) - z[y] if t is None else z[t] - logsumexp(z)
    if name == "margin" and t is not None:
        return z[t] - max(z[j] for j in range(k) if j != t)
    if name == "log_odds":
        own = y if t is None else t
        odds = z[own] - logsumexp([z[j] for j in range(k) if j != own])
        return -odds if t is None else odds
    if name == "probability_margin":
        p = np.exp(z - logsumexp(z))
        return (max(p[j] for j in range(k) if j != y) if t is None else p[t]) - p[y]
    if name == "dlr" and t is None:
        return (best_other - z[y]) / (s[0] - s[min(k, 3) - 1])
    if name == "dlr":
        return (z[t] - z[y]) / (s[0] - (s[2] + s[3]) / 2 if k >= 4 else s[0] - s[-1])
    return best_other - z[y] if t is None else z[t] - z[y]


def test_log_odds_order_as_the_cross_entropy_does_and_beyond():
    logits, y, _ = some(5, 3)
    order = [OBJECTIVES[name](logits, Goal(y)).argsort() for name in ("log_odds", "cross_entropy")]
    assert torch.equal(*order)
    sure = torch.tensor([[40.0, 0.0, -1.0], [41.0, 0.0, -1.0]])
    goal = Goal(torch.tensor([0, 0]))
    assert OBJECTIVES["cross_entropy"](sure, goal).tolist() == [0.0, 0.0]
    assert OBJECTIVES["log_odds"](sure, goal).diff() == -1


def value_and_gradient(name, logits, goal):
    logits = logits.clone().requires_grad_()
    value = OBJECTIVES[name](logits, goal)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), gradient


@every
@few
@given(k=st.integers(2, 12), seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 1.0, 50.0]))
def test_equals_the_formula(name, targeted, k, seed, scale):
    logits, y, target = some(k, seed, scale=scale)
    got = OBJECTIVES[name](logits, Goal(y, target if targeted else None))
    rows = zip(logits.numpy(), y.tolist(), target.tolist() if targeted else [None] * len(y))
    want = np.array([oracle(name, *row) for row in rows])
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-12)


@every
@few
@given(k=st.integers(2, 8), seed=st.integers(0, 10**6))
def test_gradient_climbs_towards_the_goal(name, targeted, k, seed):
    """Short of the goal: never flat, also for two classes; against the label's logit, along the target's.

    DLR may gain more from its divisor than from these two, so its signs are tested where the divisor is apart.
    """
    logits, y, target = some(k, seed)
    goal = Goal(y, target if targeted else None)
    _, gradient = value_and_gradient(name, logits, goal)
    rows = torch.arange(len(y))
    assert (gradient.abs().amax(1) > 0)[~goal.reached(logits)].all()
    if name != "dlr" and (not targeted or name == "logit_difference"):
        assert (gradient[rows, y] < 0).all()
    if name != "dlr" and targeted:
        assert (gradient[rows, target] > 0).all()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("k", [2, 3])
def test_dlr_of_few_classes_climbs_like_the_logit_difference(k, targeted):
    """Label on top, target at the bottom: the ratio would be constant there, its gradient zero."""
    logits = torch.tensor([[3.0, 1.5, 0.0][:k]])
    goal = Goal(torch.tensor([0]), torch.tensor([k - 1]) if targeted else None)
    _, gradient = value_and_gradient("dlr", logits, goal)
    _, plain = value_and_gradient("logit_difference", logits, goal)
    if k == 2 or targeted:
        torch.testing.assert_close(gradient, plain / (logits.max() - logits.min()))
    assert (gradient * plain).sum() > 0


def test_dlr_gradient_is_the_published_one():
    """Where the published divisor exists it is differentiated too: by hand for logits 4, 2, 1, 0, -1."""
    logits = torch.tensor([[4.0, 2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    value, gradient = value_and_gradient("dlr", logits, Goal(torch.tensor([0])))
    assert value.item() == pytest.approx(-2 / 3)
    np.testing.assert_allclose(gradient, [[-1 / 3 + 2 / 9, 1 / 3, -2 / 9, 0, 0]])
    value, gradient = value_and_gradient("dlr", logits, Goal(torch.tensor([0]), torch.tensor([4])))
    assert value.item() == pytest.approx(-5 / 3.5)
    np.testing.assert_allclose(gradient, [[-1 / 3.5 + 5 / 3.5**2, 0, -2.5 / 3.5**2, -2.5 / 3.5**2, 1 / 3.5]])


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [2, 3, 4, 10])
def test_value_and_gradient_are_finite(name, targeted, dtype, k):
    logits, y, target = some(k, 5, dtype=dtype)
    special = {
        "equal": torch.full_like(logits, 7.0),
        "zero": torch.zeros_like(logits),
        "top tie": logits.clamp_max(-1.0),
        "huge": logits * 1e30,
        "huge tie": torch.full_like(logits, 1e30),
        "tiny": logits * 1e-30,
        "saturated": logits * 1e4,
        "one step apart": torch.ones_like(logits).nextafter(logits),
    }
    for kind, rows in special.items():
        value, gradient = value_and_gradient(name, rows, Goal(y, target if targeted else None))
        assert value.isfinite().all(), kind
        assert gradient.isfinite().all(), kind


@few
@given(k=st.integers(2, 8), seed=st.integers(0, 10**6), targeted=st.booleans())
def test_dlr_does_not_see_shift_and_scale(k, seed, targeted):
    logits, y, target = some(k, seed)
    goal = Goal(y, target if targeted else None)
    want = OBJECTIVES["dlr"](logits, goal)
    for other in (logits * 1e-3, logits * 1e5, logits + 40):
        torch.testing.assert_close(OBJECTIVES["dlr"](other, goal), want, rtol=1e-8, atol=1e-10)


@few
@given(k=st.integers(3, 8), seed=st.integers(0, 10**6))
def test_dlr_range(k, seed):
    logits, y, _ = some(k, seed)
    right = logits.argmax(1) == y
    value = formulas.dlr(logits, y)
    assert ((value <= 0) == right).all()
    assert (value[right] >= -1).all()


@few
@given(k=st.integers(2, 8), seed=st.integers(0, 10**6))
def test_margin_sign_is_the_prediction(k, seed):
    logits, y, target = some(k, seed)
    assert ((formulas.margin(logits, y) > 0) == (logits.argmax(1) == y)).all()
    assert ((OBJECTIVES["margin"](logits, Goal(y)) > 0) == Goal(y).reached(logits)).all()
    assert ((OBJECTIVES["margin"](logits, Goal(y, target)) > 0) == Goal(y, target).reached(logits)).all()


def test_margin_of_a_tie_is_zero():
    assert formulas.margin(torch.tensor([[2.0, 2.0, 1.0]]), torch.tensor([1])).item() == 0


def test_two_classes_agree():
    """With two classes margin, logit difference and their targeted forms are one number."""
    logits, y, target = some(2, 3)
    numbers = [OBJECTIVES[n](logits, g) for n in ("margin", "logit_difference") for g in (Goal(y), Goal(y, target))]
    for number in numbers[1:]:
        torch.testing.assert_close(number, numbers[0])
    torch.testing.assert_close(OBJECTIVES["dlr"](logits, Goal(y)), numbers[0].sign())


@every
def test_float32_agrees_with_float64(name, targeted):
    logits, y, target = some(10, 1, n=200)
    goal = Goal(y, target if targeted else None)
    got = OBJECTIVES[name](logits.float(), goal)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), OBJECTIVES[name](logits, goal), rtol=1e-4, atol=1e-5)


@every
def test_rows_do_not_mix(name, targeted):
    logits, y, target = some(10, 2)
    goal = Goal(y, target if targeted else None)
    some_lanes = torch.tensor([3, 11, 0])
    got = OBJECTIVES[name](logits[some_lanes], take(goal, some_lanes))
    torch.testing.assert_close(got, OBJECTIVES[name](logits, goal)[some_lanes], rtol=0, atol=1e-15)


def test_goal_reached():
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 2.0, 1.0]])
    y = torch.tensor([2, 2, 1])
    assert Goal(y).reached(logits).tolist() == [False, True, True]
    assert Goal(y, torch.tensor([0, 1, 0])).reached(logits).tolist() == [False, False, True]
    assert not Goal(y).targeted
    assert Goal(y, y).targeted


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_that_is_not_finite_never_reaches(bad, place):
    logits = torch.tensor([[1.0, 2.0, 3.0]]).repeat(3, 1)
    logits[:, place] = bad
    label = torch.arange(3)
    assert not Goal(label).reached(logits).any()
    assert not Goal((label + 1) % 3, label).reached(logits).any()


def test_goal_refuses_shapes_that_differ():
    with pytest.raises(OptionError, match=r"target shape \(2,\); allowed: \(N,\) class numbers"):
        Goal(torch.zeros(3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(OptionError, match=r"y has shape \(3, 1\)"):
        Goal(torch.zeros(3, 1, dtype=torch.int64))


def test_objective_by_name():
    assert objective("dlr") is OBJECTIVES["dlr"]
    with pytest.raises(OptionError, match=r"unknown loss 'margn'; known: cross_entropy, .* Did you mean 'margin'"):
        objective("margn")

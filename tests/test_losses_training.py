"""Training losses against formulas written again in numpy, gradients against differences, and what orders them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from holdfast.losses.training import (
    hinge,
    jensen_shannon,
    mixed_cross_entropy,
    mixed_log_likelihood,
    smoothed_cross_entropy,
)


def some(k, seed=0, n=12, scale=3.0):
    """Random float64 logits (n, k), two labels and a share for each."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(scale * rng.standard_normal((n, k)))
    y1, y2 = (torch.tensor(rng.integers(k, size=n)) for _ in range(2))
    return logits, y1, y2, torch.tensor(rng.random(n))


def by_hand(name, z, y1, y2, share):
    """The loss of one row in plain numpy."""
    p, k = softmax(z), len(z)
    if name == "source":
        return -math.log(share * p[y1] + (1 - share) * p[y2])
    if name == "usual":
        return -share * math.log(p[y1]) - (1 - share) * math.log(p[y2])
    if name == "smoothed":
        target = [0.2 / k + 0.8 * (j == y1) for j in range(k)]
        return -sum(t * math.log(q) for t, q in zip(target, p, strict=True))
    if name == "hinge":
        return sum(max(0.0, z[j] - z[y1] + 1.5) for j in range(k) if j != y1)
    answers = [softmax(z), softmax(z[::-1]), softmax(0.5 * z)]
    mixture = sum(answers) / 3
    return sum(float((a * np.log(a / mixture)).sum()) for a in answers) / 3


LOSSES = {
    "source": mixed_log_likelihood,
    "usual": mixed_cross_entropy,
    "smoothed": lambda z, y1, y2, share: smoothed_cross_entropy(z, y1, 0.2),
    "hinge": lambda z, y1, y2, share: hinge(z, y1, 1.5),
    "jensen_shannon": lambda z, y1, y2, share: jensen_shannon([z, z.flip(1), 0.5 * z]),
}
every = pytest.mark.parametrize("name", LOSSES)


@every
@pytest.mark.parametrize("k", [2, 3, 10])
def test_each_is_its_formula(name, k):
    case = some(k, seed=k)
    found = LOSSES[name](*case)
    expected = [by_hand(name, z.numpy(), int(a), int(b), float(s)) for z, a, b, s in zip(*case, strict=True)]
    assert found.shape == (12,)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@every
@pytest.mark.parametrize("k", [2, 5])
def test_gradients_are_those_of_finite_differences(name, k):
    logits, *rest = some(k, seed=7, n=4)
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, *rest), logits.requires_grad_())


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e4, 1e30])
@pytest.mark.parametrize("edge", [0.0, 1e-40, 0.5, 1.0])
def test_value_and_gradient_stay_finite_at_extremes(name, dtype, size, edge):
    z = (size * torch.tensor([[1, -1, 0], [-1, 1, 0], [0, 0, 1.0]], dtype=dtype)).requires_grad_()
    y1, y2 = torch.tensor([0, 0, 1]), torch.tensor([1, 0, 2])
    value = LOSSES[name](z, y1, y2, torch.full((3,), edge, dtype=dtype))
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert (value >= 0).all()


@given(k=st.integers(2, 12), seed=st.integers(0, 10**6), scale=st.floats(0, 30))
def test_the_mixed_likelihood_never_exceeds_the_mixed_loss(k, seed, scale):
    logits, y1, y2, share = some(k, seed, scale=scale)
    source, usual = mixed_log_likelihood(logits, y1, y2, share), mixed_cross_entropy(logits, y1, y2, share)
    assert (source <= usual + 1e-9 * (1 + usual)).all()
    same = y1 == y2
    torch.testing.assert_close(source[same], usual[same])


def test_at_equal_shares_the_two_forms_differ_by_how_far_the_two_logits_are_apart():
    logits, y1, y2, _ = some(5, seed=3, n=64)
    half = torch.full((64,), 0.5, dtype=torch.float64)
    apart = (logits.gather(1, y1[:, None]) - logits.gather(1, y2[:, None])).squeeze(1)
    gap = mixed_cross_entropy(logits, y1, y2, half) - mixed_log_likelihood(logits, y1, y2, half)
    torch.testing.assert_close(gap, (apart / 2).cosh().log())


@pytest.mark.parametrize("form", [mixed_log_likelihood, mixed_cross_entropy])
def test_share_1_is_the_first_label_alone_and_share_0_the_second(form):
    logits, y1, y2, _ = some(5, seed=4)
    for share, y in ((1.0, y1), (0.0, y2)):
        found = form(logits, y1, y2, torch.full((12,), share, dtype=torch.float64))
        torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits, y, reduction="none"))


def test_no_smoothing_is_the_cross_entropy_and_all_of_it_wants_every_class_alike():
    logits, y, other, _ = some(4)
    plain = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(smoothed_cross_entropy(logits, y, 0.0), plain)
    torch.testing.assert_close(smoothed_cross_entropy(logits, y, 1.0), smoothed_cross_entropy(logits, other, 1.0))


def test_hinge_is_0_from_the_margin_on_and_one_number_a_class_at_equal_logits():
    y = torch.tensor([0])
    ahead = torch.tensor([[3.0, 1.0, 0.0]], requires_grad=True)
    assert hinge(ahead, y, 2.0).item() == 0
    assert torch.autograd.grad(hinge(ahead, y, 2.0).sum(), ahead)[0].abs().sum() == 0
    assert hinge(torch.zeros(1, 5), y, 1.0).item() == 4


def test_jensen_shannon_is_0_for_equal_answers_and_log_n_for_those_that_exclude_each_other():
    logits, *_ = some(6)
    assert jensen_shannon([logits, logits + 5, logits]).abs().max() < 1e-14
    sure = [40 * torch.eye(3, dtype=torch.float64)[i][None] for i in range(3)]
    assert jensen_shannon(sure).item() == pytest.approx(math.log(3), abs=1e-12)
    assert jensen_shannon([logits, -logits]).min() > 0

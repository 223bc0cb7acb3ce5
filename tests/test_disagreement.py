"""Uncertainty of an ensemble: the parts sum, and each is what it is by enumeration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as entropy_of

from holdfast.errors import OptionError
from holdfast.uncertainty import disagreement, mixture


@given(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), st.floats(0.01, 60), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_total_is_data_plus_model_and_within_its_bounds(members, pictures, classes, scale, seed):
    logits = scale * torch.randn(members, pictures, classes, generator=torch.Generator().manual_seed(seed))
    found = disagreement(logits)
    torch.testing.assert_close(found.total, found.data + found.model, atol=1e-9, rtol=1e-9)
    assert (found.model >= 0).all()
    assert (found.model <= math.log(min(members, classes)) + 1e-9).all()
    assert (found.total <= math.log(classes) + 1e-9).all()


def test_parts_are_those_of_the_definition():
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1))
    found, p = disagreement(logits), logits.double().softmax(-1).numpy()
    np.testing.assert_allclose(found.mean, p.mean(0))
    np.testing.assert_allclose(found.total, entropy_of(p.mean(0), axis=-1))
    np.testing.assert_allclose(found.data, entropy_of(p, axis=-1).mean(0))


def test_members_that_agree_leave_the_data_alone_and_sure_opposites_the_model():
    same = disagreement(torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]))
    assert same.model.item() == pytest.approx(0, abs=1e-16)
    opposed = disagreement(torch.tensor([[[900.0, 0.0]], [[0.0, 900.0]]]))
    assert opposed.model.item() == pytest.approx(math.log(2))
    assert opposed.data.item() == pytest.approx(0, abs=1e-12)


def test_impossible_classes_add_nothing():
    found = disagreement(torch.tensor([[[0.0, 0.0, -torch.inf]], [[0.0, 0.0, -torch.inf]]]))
    assert found.total.item() == pytest.approx(math.log(2))


@given(st.integers(1, 6), st.integers(0, 99), st.floats(-1e5, 1e5))
@settings(max_examples=40, deadline=None)
def test_mean_and_variance_follow_the_law_of_total_variance(members, seed, centre):
    draw = np.random.default_rng(seed)
    means, variances = centre + draw.normal(size=(members, 3)), draw.uniform(0, 2, size=(members, 3))
    found = mixture(torch.tensor(means), torch.tensor(variances))
    np.testing.assert_allclose(found.mean, means.mean(0))
    np.testing.assert_allclose(found.variance, variances.mean(0) + means.var(0), rtol=1e-7)
    np.testing.assert_allclose(found.data + found.model, found.variance)


def test_the_variance_of_a_mixture_is_that_of_its_samples():
    draw = np.random.default_rng(0)
    means, variances = np.array([[0.0], [3.0]]), np.array([[1.0], [4.0]])
    which = draw.integers(0, 2, 200_000)
    samples = draw.normal(means[which, 0], np.sqrt(variances[which, 0]))
    found = mixture(torch.tensor(means), torch.tensor(variances))
    assert found.variance.item() == pytest.approx(samples.var(), rel=0.02)
    assert found.mean.item() == pytest.approx(samples.mean(), abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: disagreement(torch.zeros(2, 3)), "allowed: \\(M, n, K\\)"),
        (lambda: disagreement(torch.full((2, 1, 2), torch.nan)), "NaN"),
        (lambda: mixture(torch.zeros(2, 3), torch.zeros(2, 4)), "allowed: \\(M, n"),
        (lambda: mixture(torch.zeros(2, 3), -torch.ones(2, 3)), "below 0"),
    ],
)
def test_what_is_no_answer_of_members_is_refused(wrong, said):
    with pytest.raises(OptionError, match=said):
        wrong()

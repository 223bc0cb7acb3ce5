"""Rates and their intervals, against sums written out."""

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import DataError
from holdfast.evaluate.statistics import Rate, excess


def at_least(k, n, p):
    """Probability of k or more of n, summed term by term."""
    return sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=30)
def test_interval_ends_are_where_the_tails_hold_two_and_a_half_percent(pair):
    k, n = pair
    rate = Rate(k, n)
    assert 0 <= rate.low <= rate.rate <= rate.high <= 1
    if k > 0:
        assert at_least(k, n, rate.low) == pytest.approx(0.025, rel=1e-6)
    if k < n:
        assert 1 - at_least(k + 1, n, rate.high) == pytest.approx(0.025, rel=1e-6)


def test_ends_at_none_and_all():
    assert (Rate(0, 10).low, Rate(10, 10).high) == (0.0, 1.0)
    assert Rate(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert Rate(10, 10).low == pytest.approx(0.025**0.1)
    # Clopper and Pearson's interval for 5 of 10, as tables have it
    assert (Rate(5, 10).low, Rate(5, 10).high) == pytest.approx((0.187, 0.813), abs=5e-4)


def test_plain_and_text():
    assert Rate(1, 4).to_plain() == {"k": 1, "n": 4, "rate": 0.25, "low": Rate(1, 4).low, "high": Rate(1, 4).high}
    assert str(Rate(1, 3)) == "1 of 3 (33.3 %)"


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5), (0, -1)])
def test_no_rate_of_nothing(k, n):
    with pytest.raises(DataError, match=rf"k={k} out of n={n}; allowed: n >= 1 and 0 <= k <= n"):
        Rate(k, n)


@pytest.mark.parametrize(("more", "less"), [(0, 0), (1, 0), (3, 3), (12, 1), (1, 12)])
def test_excess_is_the_sign_test(more, less):
    assert excess(more, less) == pytest.approx(at_least(more, more + less, 0.5))

"""How well scores tell two sets apart: exact answers, scikit-learn's, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics

from holdfast.errors import DataError
from holdfast.uncertainty import separation
from holdfast.uncertainty.separation.counts import counts
from holdfast.uncertainty.separation.precision import mirrored

values = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=30).map(np.array)


def measured(inside, outside):
    counted = counts(inside, outside)
    return (
        float(separation.auroc(counted)),
        float(separation.average_precision(counted)),
        float(separation.average_precision(mirrored(counted))),
        float(separation.false_positives(counted)),
    )


@given(values, values)
@settings(max_examples=150, deadline=None)
def test_measures_are_those_of_scikit_learn_ties_included(inside, outside):
    y = np.r_[np.zeros(len(inside)), np.ones(len(outside))]
    s = np.r_[inside, outside]
    false, true, _ = metrics.roc_curve(1 - y, -s, drop_intermediate=False)
    expected = (
        metrics.roc_auc_score(y, s),
        metrics.average_precision_score(y, s),
        metrics.average_precision_score(1 - y, -s),
        false[true >= 0.95 - 1e-9][0],
    )
    np.testing.assert_allclose(measured(inside, outside), expected, atol=1e-12)


@given(values, values)
@settings(max_examples=60, deadline=None)
def test_only_the_order_counts_and_exchanging_the_sets_mirrors(inside, outside):
    np.testing.assert_allclose(measured(inside, outside), measured(np.exp(inside), np.exp(outside)), atol=1e-12)
    area, found, familiar, _ = measured(inside, outside)
    turned = measured(-outside, -inside)
    np.testing.assert_allclose([area, familiar, found], [turned[0], turned[1], turned[2]], atol=1e-12)
    assert separation.delong(inside, outside)[0] == pytest.approx(area, abs=1e-12)


def test_a_case_by_hand():
    inside, outside = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    area, found, familiar, false = measured(inside, outside)
    assert area == pytest.approx((1 + 0.5 + 3 + 0) / 6 + 0.0)  # 1.0 beats 0, ties 1; 3.0 beats all
    assert found == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert familiar == pytest.approx(1 / 3 + (1 / 3) * (2 / 3) + (1 / 3) * (3 / 4))
    assert false == 0.5  # threshold 2.0
    assert separation.threshold(inside) == 2.0


def test_gaussian_sets_have_the_closed_forms():
    draw = np.random.default_rng(0)
    inside, outside = draw.normal(0, 1, 20_000), draw.normal(1.5, 1, 20_000)
    made = separation.separate(inside, outside, resamples=50)
    assert made.auroc.value == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.01)
    assert made.fpr95.value == pytest.approx(norm.cdf(norm.ppf(0.95) - 1.5), abs=0.015)
    for one in (made.auroc, made.aupr_in, made.aupr_out, made.fpr95):
        assert one.low < one.value < one.high
        assert one.high - one.low < 0.05


def test_intervals_cover_the_truth():
    draw, truth = np.random.default_rng(1), norm.cdf(1 / np.sqrt(2))
    false = norm.cdf(norm.ppf(0.95) - 1)
    hits = np.zeros(2)
    for seed in range(200):
        made = separation.separate(draw.normal(0, 1, 150), draw.normal(1, 1, 60), resamples=100, seed=seed)
        hits += [made.auroc.low <= truth <= made.auroc.high, made.fpr95.low <= false <= made.fpr95.high]
    assert (hits[0], hits[1]) >= (180, 170)
    assert hits.max() < 200


def test_delong_is_the_variance_of_pairs():
    """By the definition: the mean over pairs, and the variance of each picture's own mean."""
    draw = np.random.default_rng(2)
    inside, outside = draw.integers(0, 9, 30) / 1.0, draw.integers(3, 12, 20) / 1.0
    pairs = (outside[:, None] > inside) + 0.5 * (outside[:, None] == inside)
    spread = 1.959963984540054 * np.sqrt(pairs.mean(1).var(ddof=1) / 20 + pairs.mean(0).var(ddof=1) / 30)
    area, low, high = separation.delong(inside, outside)
    np.testing.assert_allclose([area, low, high], [pairs.mean(), pairs.mean() - spread, pairs.mean() + spread])


def test_sets_that_never_overlap_keep_an_honest_interval():
    few = separation.delong(np.arange(10.0), np.arange(20.0, 30))
    many = separation.delong(np.arange(1000.0), np.arange(2000.0, 3000))
    assert few[0] == few[2] == many[0] == 1.0
    assert 0.6 < few[1] < 0.95 < many[1] < 1
    low, end = separation.delong(np.arange(20.0, 30), np.arange(10.0))[1:]
    assert (low, end) == (0.0, pytest.approx(1 - few[1]))


@pytest.mark.parametrize(("shift", "end"), [(10, 0.0), (-10, 1.0)])
def test_all_or_none_passing_is_not_known_for_sure(shift, end):
    draw = np.random.default_rng(3)
    made = separation.separate(draw.uniform(size=50), shift + draw.uniform(size=30)).fpr95
    rare = 1 - 0.025 ** (1 / 30)  # none of 30 is seen of so many in 2.5 % of the cases
    assert made.value == end
    assert (made.low, made.high) == pytest.approx((0, rare) if end == 0 else (1 - rare, 1))


def test_the_bootstrap_is_seeded():
    draw = np.random.default_rng(4)
    inside, outside = draw.normal(size=40), draw.normal(size=30)
    assert separation.separate(inside, outside, seed=1) == separation.separate(inside, outside, seed=1)
    assert separation.separate(inside, outside, seed=1) != separation.separate(inside, outside, seed=2)


def test_the_curve_goes_from_corner_to_corner_and_holds_the_area():
    draw = np.random.default_rng(5)
    inside, outside = draw.normal(size=5000), draw.normal(1, 1, size=5000)
    points = separation.roc(inside, outside)
    assert len(points) <= 200
    assert (points[0], points[-1]) == ((0.0, 0.0), (1.0, 1.0))
    x, y = np.array(points).T
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(separation.delong(inside, outside)[0], abs=0.003)


@pytest.mark.parametrize(
    ("inside", "said"),
    [([0.0, np.nan, 1.0], "1 of 3 scores of familiar"), ([np.inf, 0.0], "NaN or infinite"), ([1.0], "2 or more")],
)
def test_broken_scores_are_refused(inside, said):
    with pytest.raises(DataError, match=said):
        separation.separate(np.array(inside), np.array([0.0, 1.0]))
    with pytest.raises(DataError, match=said.replace("familiar", "unfamiliar")):
        separation.delong(np.array([0.0, 1.0]), np.array(inside))

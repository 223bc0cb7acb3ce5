"""The density of features: against scikit-learn's, and its bandwidth against what likelihood says of it."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KernelDensity

import detecting
from detecting import check_restored, check_slope, check_split, evaded, fitted, separation, slope, suspected
from holdfast.data import Pictures
from holdfast.detect import Density, detector
from holdfast.detect.density import likeliest, likelihood
from holdfast.detect.features import known_features, squares
from holdfast.errors import DataError, ModelError, OptionError


@pytest.fixture(scope="module")
def doubled():
    """A classifier in float64, and the detector beside it."""
    model = detecting.doubled()
    return model, Density(reference=30).fit(model, detecting.training(), seed=3)


def test_it_is_the_density_of_scikit_learn(doubled):
    model, suspicion = doubled
    x = detecting.held_out().x(slice(60), torch.float64)
    (own,) = known_features(model, x, ["8"])
    with torch.no_grad():
        predicted = model.eval()(x).argmax(1)
    model.train()
    expected = np.empty(60)
    for label in predicted.unique().tolist():
        rows = suspicion.rows[suspicion.labels == label].numpy()
        assert len(rows) == 30
        kernel = KernelDensity(bandwidth=float(suspicion.bandwidth)).fit(rows)
        expected[predicted == label] = -kernel.score_samples(own[predicted == label].numpy())
    np.testing.assert_allclose(suspected(suspicion, model, x), expected, rtol=1e-9)


def test_the_kept_features_are_those_of_their_pictures_whatever_their_order():
    pictures, model = detecting.training(), detecting.trained()
    one = Density(reference=5).fit(model, pictures, seed=1)
    other = Density(reference=5).fit(model, pictures.take(torch.arange(len(pictures)).flip(0)), seed=1, batch=11)
    assert torch.equal(one.labels, torch.arange(10).repeat_interleave(5))
    torch.testing.assert_close(one.rows, other.rows, rtol=1e-4, atol=1e-5)
    further = Density(reference=5).fit(model, pictures, seed=2)
    assert not torch.equal(one.rows, further.rows)


def test_the_bandwidth_is_the_likeliest():
    draw = torch.Generator().manual_seed(0)
    rows = torch.cat([torch.randn(n, 3, generator=draw, dtype=torch.float64) * (1 + n / 40) for n in (20, 60)])
    labels = torch.tensor([0] * 20 + [1] * 60)
    found = likeliest(rows, labels)

    def by_leaving_out(bandwidth):
        return sum(
            cross_val_score(KernelDensity(bandwidth=bandwidth), rows[labels == label], cv=LeaveOneOut()).sum()
            for label in (0, 1)
        )

    best = by_leaving_out(found)
    assert best >= max(by_leaving_out(found * factor) for factor in (0.5, 0.9, 1.1, 2.0))
    blocks = [squares(some, some) for some in (rows[:20], rows[20:])]
    constant = 20 * np.log(19) + 60 * np.log(59) + 80 * 1.5 * np.log(2 * np.pi)
    assert likelihood(blocks, found, 3) - constant == pytest.approx(best, rel=1e-9)


def test_no_bandwidth_outside_the_ends_is_likelier():
    """In one dimension and in many, for clusters of several sizes: the ends are proven, so that is what to see."""
    for seed, width in enumerate((1, 2, 40)):
        draw = torch.Generator().manual_seed(seed)
        rows = torch.randn(50, width, generator=draw, dtype=torch.float64) + 20 * (torch.arange(50) % 2)[:, None]
        labels = torch.zeros(50, dtype=torch.int64)
        found, blocks = likeliest(rows, labels), [squares(rows, rows)]
        best = likelihood(blocks, found, width)
        assert all(likelihood(blocks, 10.0**power, width) < best + 0.5 for power in np.linspace(-3, 4, 200))


def test_copies_do_not_count_for_the_bandwidth():
    rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    labels = torch.zeros(40, dtype=torch.int64)
    twice = likeliest(rows.repeat(2, 1), labels.repeat(2))
    assert twice == pytest.approx(likeliest(rows, labels))
    with pytest.raises(DataError, match="alike"):
        likeliest(torch.ones(5, 3), labels[:5])


def test_the_gradient_is_that_of_differences_and_finite_at_kept_pictures(doubled):
    model, suspicion = doubled
    check_slope(suspicion, model, detecting.smooth_at(12))
    kept = Density(bandwidth=0.5, reference=30).fit(model, detecting.training(), seed=3)
    own = detecting.training().take(Density(reference=30).chosen(detecting.training(), 3))
    found = slope(kept, model, own.x(slice(8), torch.float64))
    assert found.isfinite().all()
    assert found.abs().amax() > 0


def test_far_away_it_neither_underflows_nor_loses_its_gradient():
    found = fitted("density", {"bandwidth": "0.001"})
    x = detecting.held_out().x(slice(20))
    assert suspected(found.model.suspicion, detecting.trained(), x).isfinite().all()
    gradient = slope(found.model.suspicion, detecting.trained(), x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().amax(1) > 0).all()


def test_restored_and_split():
    for options in ({}, {"layer": "5", "reference": "20"}):
        found = fitted("density", options)
        check_restored(found.detector, found.model.suspicion, detecting.trained(), detecting.held_out())
        check_split(found.model.suspicion, detecting.trained(), detecting.held_out().x())
    with pytest.raises(RuntimeError, match="bandwidth"):
        found.detector.outline(detecting.trained(), (1, 8, 8)).restore({"rows": torch.zeros(1)})


def test_it_finds_attacks_and_falls_to_those_who_know_it():
    found = fitted("density")
    clean, adversarial = detecting.attacked()
    assert separation(found.model.suspicion, detecting.trained(), clean, adversarial) > 0.8
    pictures = detecting.held_out().take(slice(40))
    broken, of = evaded(found.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * of > 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bandwidth": "0"}, "bandwidth=0.0; allowed: a finite number above 0"),
        ({"reference": "1"}, "reference=1; allowed: whole numbers >= 2"),
    ],
)
def test_wrong_options_are_told(options, said):
    with pytest.raises(OptionError, match=said):
        detector("density", options)


def test_what_cannot_be_fitted_is_told():
    model, pictures = detecting.trained(), detecting.training()
    with pytest.raises(DataError, match="fewer than 2 pictures of class 4 among"):
        Density().fit(model, pictures.take(pictures.labels != 4))
    with pytest.raises(ModelError, match="no linear layer of the model"):
        Density(layer="0").fit(model, pictures)
    other = Pictures.from_arrays(pictures.images[:9], torch.arange(9) % 3)
    with pytest.raises(ModelError, match="knows 10 classes, arrays has 3"):
        Density().fit(model, other)

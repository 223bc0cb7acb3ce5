"""Feature squeezing: its filter against SciPy's, its score against its definition."""

import numpy as np
import pytest
import torch
from scipy import ndimage

import detecting
from detecting import check_restored, check_slope, check_split, evaded, fitted, separation, suspected
from holdfast.detect import FeatureSqueezing, detector
from holdfast.detect.feature_squeezing import median_filter
from holdfast.errors import OptionError


@pytest.mark.parametrize("side", [2, 3, 4, 5, 11])
@pytest.mark.parametrize("size", [(8, 8), (5, 9), (2, 3), (1, 1)])
def test_the_median_filter_is_that_of_scipy(side, size):
    x = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = ndimage.median_filter(x.numpy(), size=(1, 1, side, side), mode="reflect")
    np.testing.assert_array_equal(median_filter(x, side), expected)


@pytest.mark.parametrize("side", [2, 3])
def test_the_filters_gradient_is_that_of_differences(side):
    x = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: median_filter(x, side), (x,), eps=1e-7)


@pytest.mark.parametrize(
    ("bits", "median"), [(5, 2), (1, 3), (None, 2), (3, None)], ids=["both", "coarse", "median", "bits"]
)
def test_it_is_its_definition(bits, median):
    model, x = detecting.net(torch.float64).eval(), detecting.held_out().x(slice(20), torch.float64)
    forms = [] if bits is None else [np.round(x.numpy() * (2**bits - 1)) / (2**bits - 1)]
    forms += [] if median is None else [ndimage.median_filter(x.numpy(), size=(1, 1, median, median))]

    def softmax(x):
        with torch.no_grad():
            return model(torch.as_tensor(x)).softmax(1).numpy()

    expected = np.max([np.abs(softmax(x) - softmax(form)).sum(1) for form in forms], 0)
    suspicion = FeatureSqueezing(bits=bits, median=median).outline(model, (1, 8, 8))
    np.testing.assert_allclose(suspected(suspicion, model, x), expected, rtol=1e-9)
    assert suspicion.gradient == ("exact" if bits is None else "straight_through")


def test_without_rounding_the_gradient_is_that_of_differences():
    model, x = detecting.net(torch.float64), detecting.smooth_at(20)
    check_slope(FeatureSqueezing(bits=None, median=2).outline(model, (1, 8, 8)), model, x)


def test_the_gradient_goes_straight_through_the_rounding():
    model, x = detecting.net(torch.float64), detecting.held_out().x(slice(20), torch.float64)
    levels = (x * 7).round() / 7  # of 3 bits, where rounding moves nothing
    suspicion = FeatureSqueezing(bits=3, median=None).outline(model, (1, 8, 8))
    assert (suspected(suspicion, model, levels) == 0).all()
    with torch.no_grad():
        moved = levels + 0.03  # rounds back to them
    slope = detecting.slope(suspicion, model, moved)
    model.eval()
    at, own = (t.clone().requires_grad_() for t in (levels, moved))
    p, q = model(at).softmax(1), model(own).softmax(1)
    sign = (p - q).detach().sign()
    (first,) = torch.autograd.grad((sign * p).sum(), at)
    (second,) = torch.autograd.grad((sign * q).sum(), own)
    torch.testing.assert_close(slope, first - second)
    assert slope.abs().max() > 0


def test_a_window_beyond_the_picture_is_refused():
    model, pictures = detecting.trained(), detecting.training()
    FeatureSqueezing(median=8).outline(model, pictures.shape)
    with pytest.raises(OptionError, match=r"median=9; allowed: at most 8, .* median=2"):
        FeatureSqueezing(median=9).fit(model, pictures)


def test_restored_and_split():
    found = fitted("feature-squeezing", {"median": "3"})
    check_restored(found.detector, found.model.suspicion, detecting.trained(), detecting.held_out())
    check_split(found.model.suspicion, detecting.trained(), detecting.held_out().x())


def test_it_finds_attacks_and_falls_to_those_who_know_it():
    found = fitted("feature-squeezing", {"bits": "2"})
    clean, adversarial = detecting.attacked()
    assert len(adversarial) > 100
    assert separation(found.model.suspicion, detecting.trained(), clean, adversarial) > 0.65
    pictures = detecting.held_out().take(slice(40))
    broken, of = evaded(found.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * of > 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bits": "0"}, "bits=0; allowed: whole numbers from 1 to 16"),
        ({"median": "1"}, "median=1; allowed: whole numbers >= 2"),
        ({"bits": "none", "median": "none"}, "at least one"),
    ],
)
def test_wrong_options_are_told(options, said):
    with pytest.raises(OptionError, match=said):
        detector("feature-squeezing", options)

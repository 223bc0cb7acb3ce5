"""The gradient norm as a detector: what it is, its slope, and where numbers run out."""

import pytest
import torch
from torch import nn

import detecting
from holdfast import detect
from holdfast.errors import ModelError, OptionError
from nets import linear


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_norm_is_that_of_the_loss_at_the_predicted_label(norm):
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = linear(weight)
    logits, found = detect.GradientNorm(norm=norm).outline(model, (1, 2, 2))(model, x)
    p = logits.softmax(1)
    gradient = (p - nn.functional.one_hot(logits.argmax(1), 3)) @ weight
    expected = gradient.abs().sum(1) if norm == "l1" else gradient.norm(dim=1)
    torch.testing.assert_close(found, expected.log())
    with torch.no_grad():
        assert torch.equal(detect.GradientNorm(norm=norm).outline(model, (1, 2, 2))(model, x)[1], found)
    assert not found.requires_grad


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_double_backward_and_differences_agree_on_its_slope(norm):
    model, x = detecting.doubled(), detecting.smooth_at(6)
    exact, close = (
        detecting.slope(detect.GradientNorm(norm=norm, slope=slope, h=h).outline(model, (1, 8, 8)), model, x)
        for slope, h in (("double-backward", None), ("differences", 1e-4))
    )
    error = (exact - close).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert error.median() < 0.02
    both = [
        detecting.suspected(detect.GradientNorm(norm=norm, slope=slope).outline(model, (1, 8, 8)), model, x)
        for slope in ("double-backward", "differences")
    ]
    assert torch.equal(*both)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_norm_by_differences_is_that_of_a_backward_pass(norm):
    model, x = detecting.doubled(), detecting.smooth_at(12)
    exact, close = (
        made.outline(model, (1, 8, 8))
        for made in (detect.GradientNorm(norm=norm), detect.GradientNorm(norm=norm, by="differences", h=1e-5))
    )
    assert (exact.gradient, close.gradient) == ("exact", "differences")
    apart = detecting.suspected(exact, model, x) - detecting.suspected(close, model, x)
    assert float(apart.abs().median()) < 1e-3
    assert not torch.equal(detecting.suspected(exact, model, x), detecting.suspected(close, model, x))
    ways = [detecting.slope(found, model, x).flatten(1) for found in (exact, close)]
    assert ((ways[0] - ways[1]).norm(dim=1) / ways[0].norm(dim=1)).median() < 0.02


def test_its_slope_is_the_derivative():
    model = detecting.doubled()
    detecting.check_slope(detect.GradientNorm().outline(model, (1, 8, 8)), model, detecting.smooth_at(6), h=1e-7)


def test_a_flat_loss_has_a_suspicion_and_a_slope_that_are_finite():
    model = linear(torch.zeros(3, 4, dtype=torch.float64))
    x = torch.rand(2, 1, 2, 2, dtype=torch.float64)
    found = detect.GradientNorm().outline(model, (1, 2, 2))
    assert found(model, x)[1].isfinite().all()
    assert detecting.slope(found, linear(torch.eye(3, 4, dtype=torch.float64) * 1e3), x).isfinite().all()


@pytest.mark.parametrize("slope", ["double-backward", "differences"])
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_sure_model_has_the_norm_of_float64_and_a_slope_that_is_finite_in_float32(norm, slope):
    """At logits 18 apart 1 - p rounds to 0, at 60 the squares of gradients do, and at 300 the gradients themselves."""
    x = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for apart, value in ((18.0, True), (60.0, True), (300.0, False)):
        bias = torch.tensor([apart, 0.0, 0.0])
        weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
        found = detect.GradientNorm(norm=norm, slope=slope).outline(linear(weight, bias), (1, 2, 2))
        close = detecting.suspected(found, linear(weight, bias), x).double()
        others = (x.flatten(1).double() @ weight.double().T + bias.double()).softmax(1)[:, 1:]
        exact = (others @ (weight[1:] - weight[:1]).double()).norm(dim=1, p=int(norm[1])).log()
        assert not value or float((close - exact).abs().max()) < 0.02, apart
        assert detecting.slope(found, linear(weight, bias), x).isfinite().all(), apart


def test_a_classifier_without_a_gradient_is_told():
    class Cut(nn.Module):
        """Answers without saying how it came to that."""

        def forward(self, x):
            return x.detach().flatten(1)[:, :10]

    with pytest.raises(ModelError, match="no gradient comes back through Cut; allowed: a classifier"):
        detecting.fitted("gradient-norm", model=Cut())


@pytest.mark.parametrize("by", ["backward", "differences"])
def test_it_finds_attacks_and_falls_to_who_knows_it(by):
    made = detecting.fitted("gradient-norm", {"by": by})
    clean, adversarial = detecting.attacked()
    assert detecting.separation(made.model.suspicion, made.model.model, clean, adversarial) > 0.6
    pictures = detecting.held_out()
    broken, taken = detecting.evaded(made.model, pictures.x(), pictures.labels)
    assert broken > 0.8 * taken
    detecting.check_restored(made.detector, made.model.suspicion, made.model.model, pictures)
    detecting.check_split(made.model.suspicion, made.model.model, pictures.x())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"norm": "l3"}, "allowed: one of l2, l1"),
        ({"slope": "none"}, "allowed: one of double-backward, differences"),
        ({"slope": "differences", "h": 0.0}, "allowed: above 0"),
        ({"h": 0.01}, "allowed: none with slope=double-backward"),
        ({"by": "guess"}, "allowed: one of backward, differences"),
        ({"by": "differences", "slope": "double-backward"}, "allowed: differences with by=differences"),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        detect.GradientNorm(**options)


def test_the_usual_step_of_differences_is_a_hundredth():
    model, x = detecting.doubled(), detecting.smooth_at(2)
    usual, same, other = (
        detecting.slope(detect.GradientNorm(slope="differences", h=h).outline(model, (1, 8, 8)), model, x)
        for h in (None, 0.01, 0.02)
    )
    assert torch.equal(usual, same)
    assert not torch.equal(usual, other)

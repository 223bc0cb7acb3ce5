"""Steps keep their own values, and give the gradient that was declared."""

import pytest
import torch
from torch import nn

from evaluate_models import digits, honest
from holdfast.attacks import PGD, run
from holdfast.errors import ModelError, OptionError
from holdfast.evaluate import Meter, evaluate
from holdfast.models import JPEG, BitDepth, Defended, GaussianNoise, Normalized, ResizePad, Step, random_steps
from holdfast.threats import Linf
from nets import linear, small_net


def through_numpy(x):
    """Leaves torch, and works in place on what it was given."""
    pixels = x.numpy()
    pixels *= 0.5
    return torch.from_numpy(pixels**2)


def gradient(model, x):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(x).sum(), x)
    return found


def pictures(n=4, channels=1, side=8, dtype=torch.float32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


STEPS = [BitDepth(bits=2), JPEG(quality=50), ResizePad(smallest=8, side=11), GaussianNoise(std=0.2)]


@pytest.mark.parametrize("function", [*STEPS, through_numpy], ids=lambda step: getattr(step, "__name__", repr(step)))
def test_value_is_the_steps_own(function):
    x = pictures()
    step = Step(function, backward=None if function in STEPS else "straight_through")
    torch.manual_seed(3)
    alone = function(x.clone())
    for asked in (x, x.clone().requires_grad_()):
        torch.manual_seed(3)
        assert torch.equal(step(asked), alone)
    assert torch.equal(x, pictures())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("function", STEPS, ids=repr)
def test_ready_steps_keep_pictures_and_have_a_gradient(function, channels):
    x = pictures(channels=channels, side=8)
    with torch.no_grad():
        shown = Step(function)(x)
    assert shown.shape[:2] == x.shape[:2]
    assert shown.dtype == x.dtype
    assert (gradient(Step(function), x) != 0).any()


def test_straight_through_by_hand():
    """d/dx w . round(x) is w, as if nothing were rounded."""
    weight = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, 0.0, 0.0]])
    model = Defended(linear(weight), [BitDepth(bits=1)])
    x = pictures(n=3, side=2)
    assert torch.equal(gradient(model, x), weight.sum(0).expand(3, 4).view(3, 1, 2, 2))
    assert torch.equal(model(x), x.round().flatten(1) @ weight.T)


def test_a_stand_in_gives_the_gradient_and_not_the_value():
    """Two pixels to one, which straight through cannot: its mean stands in for the larger."""
    weight = torch.tensor([[2.0], [-1.0]])
    largest = Step(lambda x: x.amax(3, keepdim=True), backward=lambda x: x.mean(3, keepdim=True))
    model = Defended(linear(weight), [largest])
    x = torch.tensor([[[[0.25, 0.75]]]])
    assert model(x).tolist() == [[1.5, -0.75]]
    assert gradient(model, x).flatten().tolist() == [0.5, 0.5]


def test_exact_is_calculus():
    x = pictures()
    torch.testing.assert_close(gradient(Step(lambda x: x**3), x), 3 * x**2)
    assert (gradient(Step(BitDepth(), backward="exact"), x) == 0).all()


def test_a_step_works_inside_a_model_and_after_normalisation():
    model = Normalized(nn.Sequential(Step(BitDepth(bits=2)), nn.Flatten(), nn.Linear(64, 3)), mean=[0.5], std=[0.25])
    torch.testing.assert_close(gradient(model, pictures())[0], gradient(model, pictures())[1])
    assert (gradient(model, pictures()) != 0).any()


def test_weights_mode_and_passes_are_those_of_the_whole():
    inside = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Dropout(0.5))
    model = Defended(small_net(inputs=64, dtype=torch.float32), [Step(inside)])
    assert {"steps.0.function.0.weight", "model.1.weight"} <= set(model.state_dict())
    model.eval()
    assert not inside[1].training
    x = pictures()
    with Meter(model) as meter:
        found = run(PGD(steps=2), model, x, model(x).argmax(1), Linf(eps=1e-6))
    assert meter.forward == int(found.forward.sum()) + 4
    assert meter.backward == int(found.backward.sum()) == 8


def test_random_steps_are_on_record():
    model = Defended(honest(), [JPEG(), Step(lambda x: x + torch.randn_like(x), random=True), GaussianNoise()])
    assert random_steps(model) == ["steps.1", "steps.2"]
    assert random_steps(lambda x: x) == []
    assert "GaussianNoise, backward=exact, random" in repr(model)


def test_steps_draw_for_each_picture_and_by_torchs_seed():
    x = torch.ones(64, 1, 8, 8)
    step = Step(ResizePad(smallest=8, side=12))
    torch.manual_seed(0)
    one = step(x)
    torch.manual_seed(0)
    assert torch.equal(step(x), one)
    assert not torch.equal(step(x), one)
    sizes = one.flatten(1).sum(1).sqrt()
    assert set(sizes.tolist()) == {8.0, 9.0, 10.0, 11.0, 12.0}
    assert len(torch.unique(one, dim=0)) > 20


def test_resize_pad_of_the_full_size_is_the_nearest_pixel():
    x = pictures(n=1, side=4)
    torch.testing.assert_close(ResizePad(smallest=8, side=8)(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (Step(lambda x: x.detach()), 'no gradient; .*Declare backward="straight_through"'),
        (Step(lambda x: x[..., 1:], backward="straight_through"), "way back .4, 1, 8, 8.*Pass backward=function"),
        (Step(lambda x: x.round(), backward=lambda x: x.detach()), "without a gradient"),
        (Step(lambda x: x * float("nan")), "4 of 4 pictures with NaN or infinity"),
        (Step(lambda x: x.to("meta"), backward="straight_through"), "on meta; .*End with .to.x."),
        (Step(lambda x: x.double(), backward="straight_through"), "torch.float64 on cpu"),
        (Step(lambda x: x[:2]), "4 pictures with .2, 1, 8, 8.; .*Keep a row"),
        (Step(lambda x: x.detach().numpy()), "answered with ndarray"),
        (Step(JPEG()), "JPEG: pictures .4, 2, 8, 8."),
    ],
    ids=str,
)
def test_steps_that_cannot_be_are_refused(step, says):
    x = pictures(channels=2 if "JPEG" in says else 1)
    with pytest.raises(ModelError, match=says):
        step(x.requires_grad_())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Step(BitDepth(), backward="smooth"), "backward='smooth'; allowed: 'exact'"),
        (lambda: Step("jpeg"), "function='jpeg'; allowed: a callable"),
        (lambda: Defended(honest(), []), "steps=.*; allowed: a list of at least one"),
        (lambda: Defended(honest(), JPEG()), "allowed: a list"),
        (lambda: BitDepth(bits=0), "bits=0; allowed"),
        (lambda: JPEG(quality=101), "quality=101; allowed"),
        (lambda: ResizePad(smallest=9, side=8), "smallest=9, side=8; allowed"),
        (lambda: GaussianNoise(std=-1.0), "std=-1.0; allowed"),
    ],
)
def test_wrong_options(make, says):
    with pytest.raises(OptionError, match=says):
        make()


def broken_by(model, attack, eps=0.15):
    found = evaluate(model, digits().take(slice(0, 64)), Linf(eps=eps), attack, batch=64, checks=False)
    return found.clean.k - found.robust.k


def test_pgd_breaks_through_rounding_once_it_is_declared():
    """Measured: PGD breaks 3 of 64 through the dead gradient, 39 straight through."""
    dead, declared = (Defended(honest("cnn"), [Step(BitDepth(bits=2), backward=b)]) for b in ("exact", None))
    blind, seeing = (broken_by(model.eval(), PGD(steps=20)) for model in (dead, declared))
    assert seeing >= blind + 16


def test_pgd_breaks_through_jpeg():
    """A file has no gradient at all; straight through, nearly as many pictures break as without it."""
    plain = broken_by(honest("cnn"), PGD(steps=10))
    assert broken_by(Defended(honest("cnn"), [JPEG()]).eval(), PGD(steps=10)) >= 0.8 * plain > 20

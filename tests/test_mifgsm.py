"""What makes momentum's pictures fool other models: each transform alone, carried back, and all of them together."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from holdfast.access import Gradient
from holdfast.attacks import MIFGSM, Cut, run, scaling
from holdfast.attacks.case import Case
from holdfast.attacks.diversity import NUMBERS, sampling, shrinking, shrunk_side
from holdfast.attacks.mifgsm import unit_1_norm
from holdfast.attacks.smoothing import band, smoothed
from holdfast.attacks.variance import around
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.losses import Goal
from holdfast.threats import L1, L2, Linf
from nets import linear, tiny_case

THREATS = [Linf(eps=0.15), L2(eps=0.5), L1(eps=1.0)]
every_threat = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.name)
sides = st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))


def lanes(x, y, threat, seed=0):
    return Case(x, Goal(y), threat, threat.limits(x), Draws(seed, torch.arange(len(x))))


def some(shape, count=5, seed=0):
    return torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradient_of(model, points, y):
    """Of the cross-entropy of each point."""
    asked = points.detach().requires_grad_()
    loss = functional.cross_entropy(model(asked), y, reduction="none")
    (found,) = torch.autograd.grad(loss.sum(), asked)
    return found, loss.detach()


def walked(attack, model, case):
    """The last point of every lane: the attack on an engine of a few lines."""
    state, query = attack.start(case)
    for number in range(1, attack.rounds):
        lane = torch.arange(len(case.x)) if query.lane is None else query.lane
        found, loss = gradient_of(model, query.points, case.goal.y[lane])
        about = {"points": query.points, "labels": lane, "reached": lane < 0, "lane": query.lane, "logits": loss}
        answer = Gradient(**about, losses=(loss,), gradients=(found,))
        case = case.next_round()
        state, asked = attack.step(case, state, answer)
        query = asked if not isinstance(asked, list) else next(one for mask, one in asked if bool(mask.all()))
        assert number < attack.steps or query.lane is None
    return query.points


@pytest.fixture(scope="module")
def case():
    small = tiny_case()
    small.model.eval()
    return small


# Switched off, each leaves momentum as it is


def plain_loop(model, x, y, threat, attack):
    """Algorithm 1 of the paper."""
    x_adv, momentum = x, torch.zeros_like(x)
    case = lanes(x, y, threat)
    for _ in range(attack.steps):
        gradient, _ = gradient_of(model, x_adv, y)
        momentum = attack.decay * momentum + gradient / gradient.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        x_adv = case.project(x_adv + threat.eps / attack.steps * case.steepest(momentum, x_adv))
    return x_adv


@every_threat
def test_alone_it_is_the_published_loop(threat, case):
    attack = MIFGSM(steps=5)
    found = walked(attack, case.model, lanes(case.x, case.y, threat))
    torch.testing.assert_close(found, plain_loop(case.model, case.x, case.y, threat, attack))


@every_threat
@pytest.mark.parametrize(
    "idle",
    [
        {"diversity": 1e-15},
        {"diversity": 1.0, "smallest": 1.0},
        {"look_ahead": True, "decay": 0.0},
        {"step_size": 0.2},
    ],
    ids=str,
)
def test_what_does_nothing_changes_no_bit(threat, idle, case):
    model = tiny_case(dtype=torch.float32).model.eval()
    plain, other = MIFGSM(steps=5), MIFGSM(steps=5, **idle)
    plain = replace(plain, decay=other.decay)
    whole = lanes(case.x.float(), case.y, threat)
    assert torch.equal(walked(other, model, whole), walked(plain, model, whole))


@every_threat
def test_no_copies_no_kernel_and_no_neighbours_are_the_default(threat, case):
    neutral = MIFGSM(scales=1, diversity=0.0, kernel=1, neighbours=0)
    assert neutral == MIFGSM()
    assert (neutral.breadth, neutral.wanders, neutral.norms) == (1, False, ())
    found = run(neutral, case.model, case.x, case.y, threat, aim="highest_loss")
    assert set(found.queries.tolist()) == {11}


def test_neighbours_at_no_distance_are_the_point_itself(case):
    """Their mean less the gradient is then 0, up to rounding."""
    whole = lanes(case.x, case.y, THREATS[0])
    found = walked(MIFGSM(steps=4, neighbours=3, spread=1e-12), case.model, whole)
    torch.testing.assert_close(found, walked(MIFGSM(steps=4), case.model, whole))


# Each by itself


@settings(deadline=None, max_examples=30)
@given(side=st.integers(1, 12), size=st.integers(1, 12))
def test_shrinking_is_bilinear_interpolation(side, size):
    size = min(side, size)
    whole = some((1, side, side), 1)
    rows = sampling(side, torch.tensor([float(size)], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))[0]
    want = functional.interpolate(whole, size=(size, size), mode="bilinear", align_corners=False)
    torch.testing.assert_close((rows @ whole @ rows.T)[..., :size, :size], want)
    assert (rows[size:] == 0).all()


@pytest.mark.parametrize(
    ("side", "smallest", "least", "most"),
    [(20, 0.55, 11, 19), (28, 0.9, 25, 27), (30, 0.9, 27, 29), (4, 0.0, 1, 3), (5, 0.9, 4, 4), (5, 1.0, 5, 5)],
)
def test_sides_shrink_to_the_share_given_and_by_a_pixel_at_least(side, smallest, least, most):
    numbers = torch.tensor([0.0, 1 - 1e-9, 0.0], dtype=torch.float64)
    sides = shrunk_side(side, smallest, numbers, torch.tensor([False, False, True]))
    assert sides.tolist() == [least, most, side]


def test_a_shrunk_picture_keeps_its_place_in_the_dark():
    rows = sampling(8, torch.tensor([5.0, 8.0]), torch.tensor([2.0, 0.0]))
    assert (rows[0, :2] == 0).all()
    assert (rows[0, 7:] == 0).all()
    torch.testing.assert_close(rows.sum(2)[0, 2:7], torch.ones(5))
    assert torch.equal(rows[1], torch.eye(8))


@settings(deadline=None, max_examples=15)
@given(shape=sides, low=st.sampled_from([0.0, -1.0]), seed=st.integers(0, 100))
def test_gradients_come_back_as_autograd_brings_them(shape, low, seed):
    x = some(shape, 3, seed)
    y = torch.zeros(3, dtype=torch.int64)
    shrunk = shrinking(lanes(x, y, Linf(eps=0.1, low=low), seed), 1, 0.8, 0.4)
    for apply, back in (
        (lambda points: shrunk(points, low), shrunk.back),
        (lambda points: scaling.copies(points, 4, low), lambda gradient: 4 * scaling.back(gradient)),
    ):
        asked = x.clone().requires_grad_()
        answer = apply(asked)
        weight = torch.randn(answer.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        (want,) = torch.autograd.grad((answer * weight).sum(), asked)
        torch.testing.assert_close(back(weight), want)


def test_copies_are_half_as_bright_each_above_the_darkest_value():
    x = torch.tensor([0.8, -1.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(scaling.copies(x, 3, 0.0)[0].flatten(), torch.tensor([0.8, 0.4, 0.2]))
    torch.testing.assert_close(scaling.copies(x, 3, -1.0)[0].flatten(), torch.tensor([0.8, -0.1, -0.55]))
    assert torch.equal(scaling.copies(x, 1, 0.0)[:, 0], x)


def test_diversity_draws_anew_for_each_point_lane_and_round():
    case = lanes(some((1, 20, 20), 40), torch.zeros(40, dtype=torch.int64), Linf(eps=0.1))
    first, again = (shrinking(case, 3, 0.5, 0.5) for _ in range(2))
    later = shrinking(case.next_round(), 3, 0.5, 0.5)
    assert torch.equal(first.rows, again.rows)
    assert len(first.rows) == 120
    assert not torch.equal(first.rows, later.rows)
    untouched = (first.rows == torch.eye(20)).flatten(1).all(1)
    numbers = case.draws.uniform(case.x.new_empty(40, 3 * NUMBERS)).view(-1, NUMBERS)
    assert torch.equal(untouched, numbers[:, 0] >= 0.5)
    assert 20 < int(untouched.sum()) < 100
    sides = (first.rows.sum(2) > 0).sum(1)
    assert int(sides.min()) >= 10
    assert len(set(sides.tolist())) > 5


@settings(deadline=None, max_examples=15)
@given(shape=sides, kernel=st.sampled_from([3, 5, 7, 15]))
def test_smoothing_is_a_convolution_with_a_gaussian(shape, kernel):
    gradient = some(shape)
    line = torch.exp(-(torch.linspace(-3, 3, kernel, dtype=torch.float64) ** 2) / 2)
    weight = torch.outer(line, line)[None, None] / line.sum() ** 2
    flat = gradient.flatten(0, 1)[:, None]
    want = functional.conv2d(flat, weight, padding=kernel // 2).view_as(gradient)
    torch.testing.assert_close(smoothed(gradient, kernel), want)
    assert smoothed(gradient, 1) is gradient


def test_a_kernel_sums_to_one_away_from_the_sides():
    torch.testing.assert_close(band(30, 7).sum(1)[3:27], torch.ones(24, dtype=torch.float64))


@every_threat
def test_neighbours_lie_as_far_off_as_said_each_elsewhere(threat):
    case = lanes(torch.full((6, 2, 5, 5), 0.5, dtype=torch.float64), torch.zeros(6, dtype=torch.int64), threat)
    points = around(case, case.x, 4, 1.5, 11)
    size = threat.size((points - case.x[:, None]).flatten(0, 1)).view(6, 4)
    assert (size <= 1.5 * threat.eps * (1 + 1e-9)).all()
    assert float(size.max()) > threat.eps
    flat = points.flatten(0, 1).flatten(1)
    assert len(flat.unique(dim=0)) == 24
    later = around(case.next_round(), case.x, 4, 1.5, 11)
    assert not torch.isclose(later, points).flatten(2).all(2).any()


def test_neighbours_stay_in_the_box_where_so_many_radii_do_not_fit():
    case = lanes(some((1, 4, 4)), torch.zeros(5, dtype=torch.int64), Linf(eps=0.9))
    points = around(case, case.x + 0.5, 3, 2.0, 11)
    assert points.min() >= 0
    assert points.max() <= 1


# All together, against autograd through the whole


@every_threat
def test_all_together_against_autograd_through_everything(threat, case):
    attack = MIFGSM(
        steps=3, look_ahead=True, scales=2, diversity=0.8, smallest=0.5, kernel=3, neighbours=2, spread=0.5, decay=0.9
    )
    now = lanes(case.x, case.y, threat, seed=4)
    x_adv, momentum, variance = now.x, torch.zeros_like(now.x), torch.zeros_like(now.x)
    corner = float(threat.size(torch.ones_like(now.x[:1])))
    for _ in range(3):
        ahead = x_adv + 0.9 / 3 * threat.eps * momentum * now.x[0].numel() / corner
        points = torch.cat([ahead[:, None], around(now, ahead, 2, 0.5, attack.rounds)], 1).flatten(0, 1)
        asked = points.detach().requires_grad_()
        bright = torch.stack([asked, asked / 2], 1).flatten(0, 1)
        logits = case.model(attack.shrunk(now)(bright, 0.0))
        loss = functional.cross_entropy(logits, case.y.repeat_interleave(6), reduction="sum") / 2
        (gradient,) = torch.autograd.grad(loss, asked)
        gradient = gradient.unflatten(0, (-1, 3))
        momentum = 0.9 * momentum + unit_1_norm(smoothed(gradient[:, 0] + variance, 3))
        variance = gradient[:, 1:].mean(1) - gradient[:, 0]
        now = now.next_round()
        x_adv = now.ascend(x_adv, now.steepest(momentum, x_adv), 1 / 3)
    torch.testing.assert_close(walked(attack, case.model, lanes(case.x, case.y, threat, seed=4)), x_adv)


@pytest.mark.parametrize(
    "attack", [MIFGSM(decay=0.0), MIFGSM(decay=0.0, scales=3, neighbours=2), MIFGSM(look_ahead=True)], ids=repr
)
def test_ends_in_the_corner_of_a_linear_model(attack):
    normal = torch.linspace(-2, 2, 16, dtype=torch.float64)
    model = linear(torch.stack([0 * normal, normal]), torch.tensor([0.0, -5.0], dtype=torch.float64))
    x, y = some((1, 4, 4)), torch.zeros(5, dtype=torch.int64)
    found = run(attack, model, x, y, Linf(eps=0.05), aim="highest_loss")
    torch.testing.assert_close(found.x_adv, (x + 0.05 * normal.sign().view(1, 4, 4)).clamp(0, 1))


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 5, 9), (3, 4, 7)])
@every_threat
def test_any_channels_and_sides(shape, threat):
    x = some(shape, 6)
    weight = torch.randn(3, x[0].numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model = linear(weight)
    y = model(x).argmax(1)
    attack = MIFGSM(steps=3, look_ahead=True, scales=2, diversity=1.0, smallest=0.3, kernel=15, neighbours=1)
    found = run(attack, model, x, y, threat, aim="highest_loss")
    assert found.x_adv.shape == x.shape
    assert (found.size <= threat.eps * (1 + 1e-9)).all()
    size = threat.size(walked(attack, model, lanes(x, y, threat)) - x)
    assert (size > 0).all()
    assert (size <= threat.eps * (1 + 1e-9)).all()


# Wrong options


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel": 4}, r"MIFGSM: kernel=4; allowed: an odd whole number from 1 up. For example kernel=7"),
        ({"kernel": -1}, r"kernel=-1"),
        ({"kernel": 3.0}, r"kernel=3.0"),
        ({"diversity": 1.5}, r"diversity=1.5; allowed: a number from 0 to 1. For half, pass diversity=0.5"),
        ({"diversity": float("nan")}, r"diversity=nan"),
        ({"smallest": -0.1}, r"smallest=-0.1"),
        ({"scales": 0}, r"scales=0; allowed: a whole number from 1 up"),
        ({"neighbours": -1}, r"neighbours=-1; allowed: a whole number from 0 up"),
        ({"spread": 0.0}, r"spread=0.0; allowed: a finite number above 0"),
        ({"step_size": 0.0}, r"step_size=0.0"),
        ({"decay": -0.1}, r"decay=-0.1"),
    ],
)
def test_wrong_options_say_what_is_allowed(options, text):
    with pytest.raises(OptionError, match=text):
        MIFGSM(**options)


@pytest.mark.parametrize("options", [{"scales": 2}, {"diversity": 0.5}, {"look_ahead": True}], ids=str)
def test_lanes_whose_points_lie_elsewhere_are_not_cut_short(options):
    assert Cut(attack=MIFGSM(loss="margin")).rounds == 11
    with pytest.raises(OptionError, match="mi-fgsm asks about several points at once, or outside the threat"):
        Cut(attack=MIFGSM(loss="margin", **options))


@pytest.mark.parametrize(
    ("options", "mend"), [({"diversity": 0.5}, "Pass diversity=0"), ({"kernel": 3}, "Pass kernel=1")], ids=str
)
def test_what_wants_pictures_says_so(options, mend):
    x = torch.full((4, 6), 0.5, dtype=torch.float64)
    weight = torch.tensor([[1.0] * 6, [0.0] * 6], dtype=torch.float64)
    with pytest.raises(OptionError, match=rf"shape \(6,\); allowed: pictures \(C, H, W\). {mend}"):
        run(MIFGSM(**options), linear(weight), x, torch.zeros(4, dtype=torch.int64), L2(eps=0.1))

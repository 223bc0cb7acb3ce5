"""One table of threats, one list of properties; projections against brute force."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import take
from holdfast.threats import L0, L1, L2, NORMS, Linf, Patch, Pixels, build
from holdfast.threats.l2 import _scale

few = settings(deadline=None, max_examples=25)
# Name and, for d values in a box of width 1, a radius that neither pins nor frees everything.
RADII = {
    "linf": lambda d: 0.2,
    "l2": lambda d: 0.4 * math.sqrt(d / 4),
    "l1": lambda d: 0.2 * d,
    "l0": lambda d: d // 2,
    "pixels": lambda d: d // 2,
    "patch": lambda d: d // 2,
    "free": lambda d: d // 2,
}
COUNTED = ("l0", "pixels", "patch", "free")  # the first two the same where inputs have no channels
# `masked` is the ball of the allowed values: test_visible.py holds it to that. A patch may be fixed or "free".
NAMES = [*NORMS, "patch", "free"]
every = pytest.mark.parametrize("name", NAMES)
BOXES = [(0.0, 1.0), (-0.5, 0.5), (0.1, 0.9), (0.0, 255.0), (-2.0, 1.0)]
boxes = st.sampled_from(BOXES)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 10**6)


def radius(name, d, box=(0.0, 1.0)):
    return RADII[name](d) * (1 if name in COUNTED else box[1] - box[0])


def case(seed, n, d, box=(0.0, 1.0), dtype=torch.float64, reach=1.0):
    """Originals inside the box, a third of their values on its sides, and points up to `reach` box widths away."""
    rng = np.random.default_rng(seed)
    low, high = box
    x = rng.uniform(low, high, (n, d))
    x = np.where(rng.random((n, d)) < 1 / 3, rng.choice([low, high], (n, d)), x)
    v = x + reach * (high - low) * rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.9)
    x, v = (torch.tensor(a, dtype=dtype) for a in (x, v))
    return x.clamp(low, high), v


def make(name, d, box=(0.0, 1.0), share=1.0):
    eps = radius(name, d, box) * share
    return of(name, eps=round(eps) if name in COUNTED else eps, low=box[0], high=box[1])


def of(name, **options):
    return Patch(**options, place="free") if name == "free" else build(name, **options)


def length(name, delta):
    """The norms once more, in numpy float64."""
    size = np.abs(delta.double().numpy().reshape(len(delta), -1))
    return {
        "linf": lambda: size.max(1),
        "l2": lambda: np.sqrt((size**2).sum(1)),
        "l1": lambda: size.sum(1),
        "l0": lambda: (size > 0).sum(1).astype(float),
        "pixels": lambda: (
            (np.abs(delta.numpy()).reshape(*delta.shape[:2], -1) > 0).any(1).sum(1).astype(float)
            if delta.ndim > 2
            else (size > 0).sum(1).astype(float)
        ),
        "patch": lambda: np.array([span(one)[0] for one in delta.numpy()]),
        "free": lambda: np.array([span(one)[1] for one in delta.numpy()]),
    }[name]()


def span(delta):
    """The side of the square at the corner that covers the changes of one picture, and of the smallest anywhere."""
    where = np.argwhere((delta if delta.ndim < 3 else delta.any(0)) != 0)
    where = where[:, -2:] if delta.ndim > 1 else np.pad(where, ((0, 0), (1, 0)))
    if not len(where):
        return 0.0, 0.0
    return float(where.max() + 1), float((where.max(0) + 1 - where.min(0)).max())


def nearest(name, v, x, eps, low, high):
    """The nearest feasible point of one picture in float64, by a root of the multiplier or by trying every subset."""
    if name == "linf":
        return np.clip(v, np.maximum(x - eps, low), np.minimum(x + eps, high))
    if name in COUNTED:
        side = min(int(eps), len(x))
        every_set = {
            "patch": [range(side)],
            "free": [range(start, start + side) for start in range(len(x) - side + 1)],
        }.get(name) or itertools.combinations(range(len(x)), side)
        points = [np.where(np.isin(range(len(x)), chosen), np.clip(v, low, high), x) for chosen in every_set]
        return min(points, key=lambda z: ((z - v) ** 2).sum())
    move, norm = v - x, {"l1": lambda a: np.abs(a).sum(), "l2": lambda a: np.sqrt((a**2).sum())}[name]
    bring = {
        "l1": lambda m: np.clip(x + np.sign(move) * np.maximum(np.abs(move) - m, 0), low, high),
        "l2": lambda m: np.clip(x + move * (1 - m), low, high),
    }[name]
    if norm(bring(0) - x) <= eps:
        return bring(0)
    most = np.abs(move).max() if name == "l1" else 1.0
    return bring(optimize.brentq(lambda m: norm(bring(m) - x) - eps, 0, most, xtol=1e-15, rtol=1e-14))


# --- size ---


@every
def test_size_is_the_norm(name):
    x, v = case(0, 20, 12)
    delta = (v - x).view(20, 3, 2, 2)
    np.testing.assert_allclose(make(name, 12).size(delta), length(name, delta), rtol=1e-12)
    assert make(name, 12).size(delta.float()).dtype == torch.float32
    assert make(name, 12).size(torch.zeros(4, 3, 2)).tolist() == [0, 0, 0, 0]


# --- projection ---


@every
@few
@given(seed=seeds, d=st.integers(1, 8), box=boxes, share=st.sampled_from([0.0, 0.05, 0.5, 1.0, 2.0]))
def test_projection_is_the_nearest_point(name, seed, d, box, share):
    threat = make(name, d, box, min(share, 5.0))
    x, v = case(seed, 6, d, box)
    got = threat.project(v, x)
    for z, start, point in zip(got.numpy(), x.numpy(), v.numpy()):
        want = nearest(name, point, start, threat.eps, *box)
        near, best = ((z - point) ** 2).sum(), ((want - point) ** 2).sum()
        assert near == pytest.approx(best, rel=1e-9, abs=1e-9 * (box[1] - box[0]) ** 2)
        if name not in COUNTED:  # the set is convex: the nearest point is the only one
            np.testing.assert_allclose(z, want, atol=1e-7 * (box[1] - box[0]))


@pytest.mark.parametrize("name", ["l1", "l2"])
@few
@given(seed=seeds)
def test_projection_agrees_with_a_general_solver(name, seed):
    """SLSQP knows nothing of thresholds and multipliers."""
    threat = make(name, 3)
    x, v = case(seed, 1, 3)
    start, point = x[0].numpy(), v[0].numpy()
    # Change = up - down, both at least 0: smooth, also for the sum of absolute values.
    fit = optimize.minimize(
        lambda p: ((start + p[:3] - p[3:] - point) ** 2).sum(),
        np.zeros(6),
        method="SLSQP",
        bounds=[(0, b) for b in (1 - start)] + [(0, b) for b in start],
        constraints={
            "type": "ineq",
            "fun": lambda p: threat.eps - p.sum() if name == "l1" else threat.eps**2 - ((p[:3] - p[3:]) ** 2).sum(),
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(threat.project(v, x)[0], start + fit.x[:3] - fit.x[3:], atol=2e-4)


@every
@settings(deadline=None, max_examples=10)
@given(seed=seeds, d=st.integers(2, 40), box=boxes, dtype=dtypes)
def test_projection_beats_random_feasible_points(name, seed, d, box, dtype):
    threat = make(name, d, box)
    x, v = case(seed, 4, d, box, dtype)
    got = (threat.project(v, x) - v).square().sum(1)
    pictures = torch.arange(4)
    for at in range(10):
        other = threat.sample(x, Draws(seed, pictures).at(at))
        near = threat.project(threat.project(v, x) + 0.1 ** (at % 5) * (other - x), x)
        for feasible in (other, near):
            assert (got <= (feasible - v).square().sum(1) * (1 + 1e-5) + 1e-9 * (box[1] - box[0]) ** 2).all()


@every
@few
@given(seed=seeds, d=st.integers(1, 600), box=boxes, dtype=dtypes, share=st.sampled_from([1e-6, 0.01, 0.3, 1.0]))
def test_projection_is_inside_and_twice_is_once(name, seed, d, box, dtype, share):
    threat = make(name, d, box, share)
    for reach in (0.02, 1.0, 1e4):
        x, v = case(seed, 5, d, box, dtype, reach)
        z = threat.project(v, x)
        assert z.dtype == dtype
        low, high = (torch.tensor(side, dtype=dtype) for side in box)
        assert z.min() >= low
        assert z.max() <= high
        slack = torch.finfo(dtype).eps * max(map(abs, box)) if name == "linf" else 0
        assert (length(name, z.double() - x.double()) <= threat.eps * (1 + 1e-6) + slack).all()
        assert (threat.size(z - x) <= threat.eps * (1 + 1e-6)).all()
        assert torch.equal(threat.project(z, x), z)
        given_limits = threat.project(v, x, threat.limits(x))
        assert torch.equal(given_limits, z)


@every
@few
@given(seed=seeds, d=st.integers(1, 600), box=boxes, dtype=dtypes)
def test_projection_leaves_inside_points_alone(name, seed, d, box, dtype):
    threat = make(name, d, box)
    x, _ = case(seed, 5, d, box, dtype)
    z = threat.sample(x, Draws(seed, torch.arange(5)))
    smaller = x + (z - x) * (1 if name in COUNTED else 0.999)
    smaller = smaller.clamp(*box)
    assert torch.equal(threat.project(smaller, x), smaller)
    assert torch.equal(threat.project(x, x), x)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("box", BOXES)
def test_radius_zero_gives_the_original(name, dtype, box):
    x, v = case(1, 7, 30, box, dtype)
    threat = of(name, eps=0.0, low=box[0], high=box[1])
    assert torch.equal(threat.project(v, x), x)
    assert torch.equal(threat.sample(x, Draws(0, torch.arange(7))), x)
    assert all(torch.equal(side, x) for side in threat.limits(x))


@every
def test_huge_radius_gives_the_whole_box(name):
    x, v = case(2, 7, 30, dtype=torch.float32)
    threat = of(name, eps=1.0 if name == "linf" else 1000.0)
    assert torch.equal(threat.project(v, x), v.clamp(0, 1))
    lower, upper = threat.limits(x)
    assert (lower == 0).all()
    assert (upper == 1).all()


@every
@few
@given(seed=seeds, d=st.integers(1, 30), dtype=dtypes)
def test_limits_hold_and_are_reached(name, seed, d, dtype):
    """No feasible point passes them, and a move of one value alone gets there."""
    threat = make(name, d, share=0.3)
    x, v = case(seed, 4, d, dtype=dtype)
    lower, upper = threat.limits(x)
    z = threat.project(v, x)
    step = torch.finfo(dtype).eps
    assert (lower - step <= z).all()
    assert (z <= upper + step).all()
    far = x.clone()
    far[:, 0] = 9.0
    if threat.eps > 0:
        torch.testing.assert_close(threat.project(far, x)[:, 0], upper[:, 0], rtol=0, atol=4 * step)


@every
@few
@given(seed=seeds, d=st.integers(1, 30))
def test_float32_projects_like_float64(name, seed, d):
    threat = make(name, d)
    x, v = case(seed, 6, d, dtype=torch.float32)
    single, double = threat.project(v, x), threat.project(v.double(), x.double())
    torch.testing.assert_close(single.double(), double, rtol=0, atol=3e-6)


@every
def test_one_radius_a_lane(name):
    """Each lane as if alone with its own radius, in every method; and a tree that lanes can be taken from."""
    x, v = case(3, 5, 12, dtype=torch.float32)
    x, v = x.view(5, 3, 2, 2), v.view(5, 3, 2, 2)
    eps = torch.tensor([0.0, 0.1, 0.2, 0.5, 1.0], dtype=torch.float64) * (12 if name in COUNTED else 1)
    eps = eps.round() if name in COUNTED else eps
    draws = Draws(5, torch.arange(5))
    lanes = make(name, 12).with_eps(eps)
    made = [lanes.project(v, x), lanes.sample(x, draws), lanes.steepest(v - x), *lanes.limits(x)]
    for i in range(5):
        one = torch.tensor([i])
        alone = make(name, 12).with_eps(eps[i].item())
        xi, vi, di = x[one], v[one], take(draws, one)
        want = [alone.project(vi, xi), alone.sample(xi, di), alone.steepest(vi - xi), *alone.limits(xi)]
        for got, expected in zip(made, want):
            torch.testing.assert_close(got[one], expected, rtol=0, atol=3e-7)
        torch.testing.assert_close(take(lanes, one).project(vi, xi), made[0][one], rtol=0, atol=3e-7)


@pytest.mark.parametrize("eps", [1e-4, 1 / 255, 8 / 255, 0.1, 0.3])
@pytest.mark.parametrize("box", BOXES)
def test_linf_measured_again_exceeds_the_radius_by_rounding_only(eps, box):
    """From pictures in float32, in float64: half a step of `eps` for its own rounding, half for the difference's.

    The sum x + eps as it is rounded may be off by half a step at `high`, a hundred times as much.
    """
    x, v = case(4, 50, 784, box, torch.float32)
    z = Linf(eps=eps, low=box[0], high=box[1]).project(v, x)
    assert length("linf", z.double() - x.double()).max() <= eps * (1 + 2**-23)


@pytest.mark.parametrize("eps", [0.0, 1e-4, 8 / 255, 0.1, 0.3])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_limits_are_the_outermost_that_rounding_leaves_inside(eps, box, kind):
    """x - eps and x + eps as they are rounded; where that is further than eps from x, one step of the dtype nearer."""
    x, _ = case(5, 50, 784, box, torch.float32 if kind is np.float32 else torch.float64)
    x[0, :3] = torch.tensor([box[0], box[1], 0.5 * (box[0] + box[1])])
    pixels, far = x.numpy(), kind(eps)
    for found, edge in zip(Linf(eps=eps, low=box[0], high=box[1]).limits(x), (pixels - far, pixels + far), strict=True):
        inside = np.where(np.abs(edge - pixels) > far, np.nextafter(edge, pixels), edge)
        assert np.array_equal(found.numpy(), inside.clip(kind(box[0]), kind(box[1])))


def test_l2_falls_short_by_no_more_than_it_says():
    """Moves and room that halve from value to value: the worst for Newton's method, and the bound holds still."""
    d = 24
    x = torch.zeros(1, d, dtype=torch.float64)
    v = 4.0 ** -torch.arange(d, dtype=torch.float64)[None] * 3
    for share in (0.3, 0.9, 0.99, 0.999999):
        threat = L2(eps=float(share * v.clamp_max(0.5).norm()), high=0.5)
        z = threat.project(v, x)
        short = threat.eps**2 - z.square().sum().item()
        assert -1e-12 <= short <= threat.eps * v.norm().item() / 2**8


@pytest.mark.parametrize("step", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("power", [1, 5])
def test_l2_settles_on_pictures(step, power):
    """Half the values on a side of the box, even and very uneven moves: the whole radius is used."""
    x, v = case(9, 40, 784)
    threat = L2(eps=2.0)
    inside = threat.project(v, x)
    z = threat.project(inside + step * threat.eps * threat.steepest((v - x) ** power), x)
    np.testing.assert_allclose(length("l2", z - x), 2.0, rtol=1e-9)


def test_l2_does_not_fall_back_when_rounding_meets_a_flat_slope():
    """Values that fill the radius once they reach the box, and others that hardly move: a gap below 0 is rounding."""
    rng = np.random.default_rng(0)
    room = torch.tensor(rng.uniform(0.2, 1.0, (2000, 30)), dtype=torch.float32)
    move = torch.cat([2 * room, torch.full_like(room, 1e-4)], 1).square()
    room = torch.cat([room, torch.full_like(room, 0.5)], 1).square()
    target = room[:, :30].sum(1, keepdim=True)
    reached = torch.minimum(_scale(move, room, target) * move, room).sum(1, keepdim=True)
    torch.testing.assert_close(reached, target, rtol=1e-5, atol=0)


@every
def test_bad_values_stay_in_their_lane(name):
    x, v = case(5, 4, 10)
    want = make(name, 10).project(v, x)
    v[1, 3] = torch.nan
    got = make(name, 10).project(v, x)
    keep = torch.tensor([0, 2, 3])
    assert torch.equal(got[keep], want[keep])
    assert got[1].isnan().any()


# --- steepest ---


@pytest.mark.parametrize("name", list(NORMS))  # a patch's steps are shares of the box: test_visible.py
@few
@given(seed=seeds, d=st.integers(1, 30), dtype=dtypes)
def test_steepest_gains_most(name, seed, d, dtype):
    """Of all moves of its size; L1 with the least spread, which is the true steepest move."""
    threat = L1(eps=1.0, spread=1e-9) if name == "l1" else make(name, max(d, 2))
    rng = np.random.default_rng(seed)
    grad = torch.tensor(rng.standard_normal((3, d)), dtype=dtype)
    move = threat.steepest(grad)
    assert move.dtype == dtype
    size = length(name, move)
    np.testing.assert_allclose(size, min(threat.eps, d) if name in COUNTED else 1, rtol=1e-6)
    gain = (move * grad).sum(1)
    for _ in range(20):
        other = torch.tensor(rng.standard_normal((3, d)), dtype=dtype)
        if name in COUNTED:  # values in [-1, 1], as many as allowed
            other = other.clamp(-1, 1) * (torch.rand(3, d).argsort(1).argsort(1) < threat.eps)
        else:
            other = other / torch.tensor(length(name, other), dtype=dtype)[:, None]
        assert (gain >= (other * grad).sum(1) - 1e-6).all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steepest_of_bad_gradients(name, dtype):
    """Zero gives zero; tiny and huge keep their direction; NaN counts as 0 and infinity as very large."""
    threat = make(name, 4)
    grad = torch.tensor([[3.0, -1.0, 0.5, 0.0]], dtype=dtype)
    want = threat.steepest(grad)
    assert want.abs().max() > 0
    assert (threat.steepest(torch.zeros_like(grad)) == 0).all()
    for scale in (1e-30, 1e30):
        torch.testing.assert_close(threat.steepest(grad * scale), want)
    grad[0, 3] = torch.nan
    torch.testing.assert_close(threat.steepest(grad), want)
    grad[0, 1] = -torch.inf
    move = threat.steepest(grad)
    assert move.isfinite().all()
    assert move[0, 1] < 0
    assert (threat.steepest(torch.full((2, 4), torch.nan, dtype=dtype)) == 0).all()


def test_l1_spreads_over_its_share_and_shares_ties():
    grad = torch.arange(1.0, 301)[None] * torch.tensor([1.0, -1.0]).repeat(150)
    move = L1(eps=1.0).steepest(grad)
    assert move.nonzero()[:, 1].tolist() == [297, 298, 299]
    torch.testing.assert_close(move[0, 297:], torch.tensor([-1.0, 1.0, -1.0]) / 3)
    assert (L1(eps=1.0, spread=1.0).steepest(grad) != 0).all()
    tied = L1(eps=1.0).steepest(torch.tensor([[2.0, -2.0, 1.0]]))
    assert tied.tolist() == [[0.5, -0.5, 0.0]]
    sparse = L1(eps=1.0, spread=1.0).steepest(torch.tensor([[0.0, -2.0, 1.0]]))
    assert sparse.tolist() == [[0.0, -0.5, 0.5]]


def test_l1_passes_over_values_at_the_side_they_would_move_to():
    threat = L1(eps=1.0)
    grad = torch.tensor([[5.0, -4.0, 3.0, -2.0]])
    assert threat.steepest(grad, torch.tensor([[1.0, 0.5, 0.5, 0.5]])).tolist() == [[0, -1, 0, 0]]
    assert threat.steepest(grad, torch.tensor([[1.0, 0.0, 0.5, 0.5]])).tolist() == [[0, 0, 1, 0]]
    assert threat.steepest(grad, torch.tensor([[0.0, 1.0, 0.5, 0.5]])).tolist() == [[1, 0, 0, 0]]
    assert threat.steepest(grad, torch.tensor([[1.0, 0.0, 1.0, 0.0]])).tolist() == [[0, 0, 0, 0]]
    limits = (torch.zeros(1, 4), torch.tensor([[0.5, 1.0, 1.0, 1.0]]))
    assert threat.steepest(grad, torch.tensor([[0.5, 0.5, 0.5, 0.5]]), limits).tolist() == [[0, -1, 0, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_l1_steps_reach_the_best_point_of_a_linear_loss(seed):
    """Thirty steps of a tenth of eps: as good as filling the values of the largest gradients, one after the other."""
    x, v = case(seed, 4, 50)
    grad, threat = v - x, L1(eps=3.0)
    x_adv = x
    for _ in range(30):
        x_adv = threat.project(x_adv + 0.1 * threat.eps * threat.steepest(grad, x_adv), x)
    gain = (grad * (x_adv - x)).sum(1)
    room = torch.where(grad > 0, 1 - x, x)
    order = grad.abs().argsort(1, descending=True)
    filled = room.gather(1, order).cumsum(1).clamp_max(threat.eps).diff(dim=1, prepend=torch.zeros(4, 1).double())
    best = (filled * grad.abs().gather(1, order)).sum(1)
    assert (gain >= 0.97 * best).all()
    assert (gain <= best * (1 + 1e-9)).all()


def test_l0_takes_the_first_of_ties():
    grad = torch.tensor([[1.0, -2.0, 2.0, 2.0, 0.0]])
    assert L0(eps=2).steepest(grad).tolist() == [[0, -1, 1, 0, 0]]
    assert L0(eps=5).steepest(grad).tolist() == [[1, -1, 1, 1, 0]]


def test_l0_keeps_what_can_be_reached():
    """A large move that the box cuts short gains less than a smaller one that it does not."""
    x = torch.tensor([[0.9, 0.5, 0.5]])
    v = torch.tensor([[1.3, 0.9, 0.4]])
    torch.testing.assert_close(L0(eps=1).project(v, x), torch.tensor([[0.9, 0.9, 0.5]]))


def test_l0_projects_points_inside_with_changes_whose_square_vanishes():
    x = torch.zeros(1, 3)
    v = torch.tensor([[0.0, 1e-30, 1.0]])
    assert torch.equal(L0(eps=2).project(v, x), v)


# --- shorten and shrink ---


def one_of_each(seed, d):
    delta = case(seed, 6, d)[1] - 0.5
    delta[0, : d // 2] = delta[0, 0]  # equal ones
    return delta, torch.tensor(np.random.default_rng(seed).uniform(0, 1.2, 6))


@every
@few
@given(seed=seeds, d=st.integers(1, 12))
def test_shortened_is_the_nearest_of_that_size(name, seed, d):
    delta, share = one_of_each(seed, d)
    threat = make(name, d, (-50.0, 50.0))
    length_ = share * threat.size(delta)
    got = threat.shorten(delta, length_)
    assert (threat.size(got) <= (length_.ceil() if name in COUNTED else length_) * (1 + 1e-9)).all()
    limit = length_.ceil() if name in COUNTED else length_
    want = threat.with_eps(limit).project(delta, torch.zeros_like(delta))
    torch.testing.assert_close((got - delta).square().sum(1), (want - delta).square().sum(1), rtol=1e-6, atol=1e-9)
    assert torch.equal(threat.shorten(delta, 2 * threat.size(delta) + 1), delta)


@every
@few
@given(seed=seeds, d=st.integers(1, 12))
def test_shrunk_minimises_size_and_distance(name, seed, d):
    """Against random points near it, points with some values left out, zero, and the delta itself."""
    delta, amount = one_of_each(seed, d)
    threat = make(name, d, (-50.0, 50.0))

    def cost(point):
        return amount * torch.tensor(length(name, point)) + (point - delta).square().sum(1) / 2

    got = threat.shrink(delta, amount)
    rng, best = np.random.default_rng(seed), cost(got)
    others = [delta, torch.zeros_like(delta)]
    for spread in (1.0, 0.1, 0.01, 0.001):
        near = got + spread * torch.tensor(rng.standard_normal((10, 6, d)))
        others += [*near, *(near * (torch.rand(10, 6, d) < 0.7)), *(got * (1 + spread * torch.randn(10, 6, 1)))]
    for other in others:
        assert (best <= cost(other) + 1e-9).all()


@every
def test_shortened_and_shrunk_stay_in_the_box_and_their_lane(name):
    x, v = case(2, 5, 30)
    threat, move, some = make(name, 30), v.clamp(0, 1) - x, torch.tensor([0.0, 0.1, 1.0, 3.0, 1e9]).double()
    for act in (threat.shorten, threat.shrink):
        got = act(move, some)
        assert ((got * move >= 0) & (got.abs() <= move.abs() * (1 + 1e-12))).all()
        torch.testing.assert_close(act(move[2:3], some[2:3]), got[2:3])
        assert act(move.float(), some.float()).dtype == torch.float32
    none = torch.zeros(5).double()
    assert threat.shorten(move, none).abs().max() < 1e-15
    torch.testing.assert_close(threat.shrink(move, none), move, rtol=0, atol=1e-15)


def test_l0_shortens_to_the_first_of_equal_ones():
    delta = torch.tensor([[1.0, -2.0, 2.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    got = L0(eps=0).shorten(delta, torch.tensor([2.0, 2.5]))
    assert got.tolist() == [[0, -2, 2, 0, 0], [1, 1, 1, 0, 0]]


# --- sample ---


@every
@few
@given(seed=seeds, d=st.integers(1, 300), box=boxes, dtype=dtypes)
def test_sample_is_inside(name, seed, d, box, dtype):
    threat = make(name, d, box)
    x, _ = case(seed, 5, d, box, dtype)
    z = threat.sample(x, Draws(seed, torch.arange(5)))
    assert z.dtype == dtype
    assert (length(name, z.double() - x.double()) <= threat.eps * (1 + 1e-6)).all()
    assert torch.equal(threat.project(z, x), z)
    assert torch.equal(threat.sample(x, Draws(seed, torch.arange(5)), threat.limits(x)), z)


@pytest.mark.parametrize("d", [1, 2, 5, 30])
@pytest.mark.parametrize("name", ["linf", "l2", "l1"])
def test_sample_is_uniform_in_the_ball(name, d):
    """The share of a ball within r is r^d, every value is even in sign, and no axis is special."""
    n = 4000
    threat = build(name, eps=0.4, low=-1.0, high=1.0)
    delta = threat.sample(torch.zeros(n, d, dtype=torch.float64), Draws(3, torch.arange(n)))
    inner = (length(name, delta) / 0.4) ** d
    assert stats.kstest(inner, "uniform").pvalue > 1e-3
    assert (delta.sign().mean(0).abs() < 5 / math.sqrt(n)).all()
    if d > 1:
        assert stats.ks_2samp(delta[:, 0].numpy(), delta[:, -1].numpy()).pvalue > 1e-3
        assert abs(np.corrcoef(delta[:, 0], delta[:, 1])[0, 1]) < 5 / math.sqrt(n)
    marginal = {  # of one value when the point is uniform in the ball: density of the slice
        "linf": stats.uniform(-1, 2).cdf,
        "l2": lambda t: stats.beta((d + 1) / 2, (d + 1) / 2).cdf((t + 1) / 2),
        "l1": lambda t: 0.5 + np.sign(t) * (1 - (1 - np.abs(t)) ** d) / 2,
    }[name]
    assert stats.kstest(delta[:, 0].numpy() / 0.4, marginal).pvalue > 1e-3


def test_l0_sample_changes_any_values_to_any_values():
    n = 4000
    z = L0(eps=3, low=-1.0, high=2.0).sample(torch.zeros(n, 10, dtype=torch.float64), Draws(3, torch.arange(n)))
    changed = z != 0
    assert (changed.sum(1) == 3).all()
    assert stats.chisquare(changed.sum(0).numpy()).pvalue > 1e-3
    assert stats.kstest(z[changed].numpy(), stats.uniform(-1, 3).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(changed[:, 0], changed[:, 1])[0, 1] + 1 / 9) < 5 / math.sqrt(n)


@every
def test_sample_belongs_to_the_picture(name):
    x, _ = case(6, 6, 20)
    draws, some = Draws(9, torch.arange(6)), torch.tensor([4, 1])
    threat = make(name, 20)
    torch.testing.assert_close(
        threat.sample(x[some], take(draws, some)), threat.sample(x, draws)[some], rtol=0, atol=1e-14
    )
    assert not torch.equal(threat.sample(x, draws), threat.sample(x, draws.at(1)))


# --- records ---


@every
def test_inputs_are_left_alone(name):
    x, v = case(7, 4, 12)
    grad = v - x
    before = [t.clone() for t in (x, v, grad)]
    threat = make(name, 12)
    limits = threat.limits(x)
    sides = [side.clone() for side in limits]
    threat.project(v, x, limits)
    threat.sample(x, Draws(0, torch.arange(4)))
    threat.steepest(grad, x, limits)
    threat.size(grad)
    assert all(torch.equal(a, b) for a, b in zip((x, v, grad, *limits), (*before, *sides)))


@every
def test_shape_and_layout_do_not_matter(name):
    x, v = case(8, 4, 60, dtype=torch.float32)
    threat, draws = make(name, 60), Draws(1, torch.arange(4))
    flat = [threat.project(v, x), threat.steepest(v - x, x), threat.sample(x, draws)]
    shape = {"pixels": (4, 1, 12, 5), "patch": (4, 1, 1, 60), "free": (4, 1, 1, 60)}.get(name, (4, 3, 4, 5))
    picture = [a.view(shape) for a in (x, v)]
    last = [a.to(memory_format=torch.channels_last) for a in picture]
    for xs, vs in (picture, last):
        got = [threat.project(vs, xs), threat.steepest(vs - xs, xs), threat.sample(xs, draws)]
        for a, b in zip(got, flat):
            torch.testing.assert_close(a, b.view(shape), rtol=0, atol=1e-6)


@every
def test_record(name):
    threat = make(name, 12)
    kinds = {**NORMS, "patch": Patch, "free": Patch}
    assert type(threat) is kinds[name]
    assert threat.name == ("patch" if name == "free" else name)
    assert threat.nearest
    assert threat == make(name, 12)
    assert repr(threat).startswith(f"{type(threat).__name__}(eps=")
    other = threat.with_eps(0)
    assert (other.eps, other.low, other.high) == (0, threat.low, threat.high)
    with pytest.raises(dataclasses.FrozenInstanceError):
        threat.eps = 1.0
    assert L1(eps=1.0, spread=0.5).with_eps(2.0) == L1(eps=2.0, spread=0.5)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        OptionError,
        match=r"unknown threat 'linff'; known: colour, flow, l0, l1, l2, linf, masked, patch, pixels, rotation\. Did",
    ):
        build("linff", eps=0.1)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("linf", {"eps": 8.0}, r"Linf: eps=8.0; allowed: 0 <= eps <= 1, the width of the box, .* pass eps=8/255"),
        ("linf", {"eps": -0.1}, r"Linf: eps=-0.1; allowed: 0 <= eps"),
        ("l2", {"eps": -1.0}, r"L2: eps=-1.0; allowed: 0 <= eps, finite"),
        ("l1", {"eps": math.inf}, r"L1: eps=inf; allowed: 0 <= eps, finite"),
        ("l2", {"eps": math.nan}, r"L2: eps=nan; allowed"),
        ("l0", {"eps": 2.5}, r"L0: eps=2.5; allowed: whole numbers.* Pass eps=2 or eps=3"),
        ("pixels", {"eps": 2.5}, r"Pixels: eps=2.5; allowed: whole numbers.* Pass eps=2 or eps=3"),
        ("l0", {"eps": math.inf}, r"L0: eps=inf; allowed"),
        ("patch", {"eps": 2.5}, r"Patch: eps=2.5; allowed: whole numbers.* Pass eps=2 or eps=3"),
        ("l2", {"eps": 1.0, "low": 1.0, "high": 0.0}, r"L2: low=1.0, high=0.0; allowed: finite numbers, low < high"),
        ("linf", {"eps": 0.0, "low": 0.0, "high": math.inf}, r"Linf: low=0.0, high=inf; allowed"),
        ("l2", {"eps": torch.ones(2, 1)}, r"shape \(2, 1\); allowed: a float, or a tensor \(N,\)"),
        ("linf", {"eps": torch.tensor(0.1)}, r"shape \(\); allowed: .* Pass float\(eps\)"),
    ],
)
def test_wrong_options_say_how_to_mend_them(name, options, text):
    with pytest.raises(OptionError, match=text):
        build(name, **options)


@pytest.mark.parametrize("spread", [0.0, 1.5, math.nan])
def test_wrong_spread(spread):
    with pytest.raises(OptionError, match=r"L1: spread=.*; allowed: 0 < spread <= 1"):
        L1(eps=1.0, spread=spread)


# --- pixels, whose channels count together ---


def coloured(seed, n=4, width=3):
    """Pictures of two channels and `width` pixels, and points around them."""
    x, v = case(seed, n, 2 * width)
    return x.view(n, 2, 1, width), v.view(n, 2, 1, width)


def test_pixels_count_their_channels_together():
    delta = torch.tensor([[[[0.1, 0.0, 0.0]], [[0.2, 0.0, -0.1]]]])
    assert Pixels(eps=0).size(delta).tolist() == [2]
    assert L0(eps=0).size(delta).tolist() == [3]
    assert Pixels(eps=0).size(delta.flatten(1)).tolist() == [3]


@few
@given(seed=seeds, eps=st.integers(0, 3))
def test_nearest_point_of_few_pixels(seed, eps):
    """Every choice of pixels tried."""
    x, v = coloured(seed)
    got = Pixels(eps=eps).project(v, x)
    boxed = v.clamp(0, 1)
    masks = [torch.tensor([i in kept for i in range(3)]) for kept in itertools.combinations(range(3), eps)]
    best = torch.stack([(torch.where(mask, boxed, x) - v).square().flatten(1).sum(1) for mask in masks]).amin(0)
    torch.testing.assert_close((got - v).square().flatten(1).sum(1), best)
    assert (Pixels(eps=eps).size(got - x) <= eps).all()


@few
@given(seed=seeds)
def test_fewest_pixels_that_reach_a_plane(seed):
    """As few as any choice of pixels needs, all their room used; in the box, and to the amount."""
    x, normal = coloured(seed)
    normal = normal - 0.5
    room = torch.where(normal > 0, 1 - x, x)
    gains = (normal.abs() * room).sum(1).flatten(1)
    gap = gains.sum(1) * torch.tensor([0.2, 0.5, 0.8, 0.99])
    move = Pixels(eps=0).reach(x, normal, gap)
    torch.testing.assert_close((normal * move).flatten(1).sum(1), gap)
    assert ((x + move >= -1e-12) & (x + move <= 1 + 1e-12)).all()
    fewest = [
        min(n for n in range(4) if any(sum(c) >= need for c in itertools.combinations(row, n)))
        for row, need in zip(gains.tolist(), (gap * (1 - 1e-9)).tolist(), strict=True)
    ]
    assert Pixels(eps=0).size(move).tolist() == fewest


def test_changes_whose_square_vanishes_count_as_pixels():
    delta = torch.zeros(1, 3, 2, 2)
    delta[0, :, 0, 0], delta[0, 1, 1, 1] = 1e-30, 1e-25
    assert Pixels(eps=0).size(delta).tolist() == [2]
    x = torch.zeros(1, 3, 2, 2)
    assert Pixels(eps=1).size(Pixels(eps=1).project(x + delta, x) - x) <= 1


def test_pixels_by_their_lengths():
    delta = torch.tensor([[[[0.3, 0.4, 0.0]], [[0.4, 0.0, 0.6]]]])  # lengths 0.5, 0.4, 0.6
    threat = Pixels(eps=0)
    kept = (threat.shorten(delta, torch.tensor([2.0])) != 0).any(1).flatten().tolist()
    assert kept == [True, False, True]
    kept = (threat.shrink(delta, torch.tensor([0.45**2 / 2])) != 0).any(1).flatten().tolist()
    assert kept == [True, False, True]
    assert threat.shrink(delta, torch.tensor([0.45**2 / 2]))[0, 1, 0, 0] == delta[0, 1, 0, 0]


def test_moves_of_pixels_use_all_channels():
    grad = torch.tensor([[[[0.3, -0.5, 0.0]], [[0.3, 0.0, 0.1]]]])
    assert Pixels(eps=1).steepest(grad).tolist() == [[[[1, 0, 0]], [[1, 0, 0]]]]
    assert Pixels(eps=0, high=2.0).dual(grad).tolist() == pytest.approx([1.2])
    x = torch.full((5, 3, 4, 4), 0.5)
    inside = Pixels(eps=2).sample(x, Draws(3, torch.arange(5)))
    assert ((inside != x).sum((1, 2, 3)) == 6).all()

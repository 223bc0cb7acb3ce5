"""Changes that are seen: a patch somewhere, a norm under a mask, and LaVAN, which fills them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluate_models import digits, honest
from holdfast import threats
from holdfast.attacks import APGD, ATTACKS, DDN, FAB, PGD, LaVAN, SparseRS, Square, run
from holdfast.attacks.attack import WHOLE, suits
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.evaluate import evaluate, verify
from holdfast.evaluate.edges import measured, norm_of, radii
from holdfast.evaluate.suites import SUITES
from holdfast.lanes import join, take
from holdfast.options import parse, to_plain
from holdfast.report import words, write
from holdfast.report.pictures import mask as drawn
from holdfast.threats import Mask, Masked, Patch, plain, whole_box
from holdfast.threats.windows import sums
from nets import linear, tiny_case

few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 10**6)
every_norm = pytest.mark.parametrize("norm", WHOLE)
RADIUS = {"linf": 0.2, "l2": 0.5, "l1": 0.9, "l0": 3, "pixels": 2}


def pictures(seed, n=4, shape=(2, 4, 5)):
    """Originals, a third of their values on the sides of the box, and points about a box away."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n, *shape))
    x = np.where(rng.random(x.shape) < 1 / 3, rng.integers(0, 2, x.shape), x)
    return torch.tensor(x), torch.tensor(x + rng.standard_normal(x.shape))


def some_mask(seed, shape=(4, 5)):
    mask = torch.tensor(np.random.default_rng(seed).random(shape) < 0.5)
    mask[..., 0, 0] = True
    return mask


# --- a mask: the ball of the picture that the allowed values make ---


def both(norm, mask, **options):
    """The threat under the mask, and the norm alone."""
    eps = RADIUS[norm]
    return Masked(eps=eps, norm=norm, mask=mask, **options), threats.build(norm, eps=eps)


def sub(x, mask):
    """(N, C, values) of the allowed values."""
    return x[:, :, mask]


@every_norm
@few
@given(seed=seeds)
def test_masked_is_the_norm_of_what_may_change(norm, seed):
    """Every method, value by value, against the norm on the smaller picture; nothing anywhere else."""
    mask = some_mask(seed)
    masked, alone = both(norm, mask, spread=1e-9)
    alone = replace(alone, spread=1e-9) if norm == "l1" else alone
    x, v = pictures(seed)
    gap, some = torch.tensor([0.1, -0.5, 2.0, 0.0]).double(), torch.tensor([0.0, 0.2, 1.0, 3.0]).double()
    pairs = [
        (masked.project(v, x) - x, alone.project(sub(v, mask), sub(x, mask)) - sub(x, mask)),
        (masked.steepest(v - x), alone.steepest(sub(v - x, mask))),
        (masked.reach(x, v - x, gap), alone.reach(sub(x, mask), sub(v - x, mask), gap)),
        (masked.shorten(v - x, some), alone.shorten(sub(v - x, mask), some)),
        (masked.shrink(v - x, some), alone.shrink(sub(v - x, mask), some)),
        *((a - x, b - sub(x, mask)) for a, b in zip(masked.limits(x), alone.limits(sub(x, mask)), strict=True)),
    ]
    for whole, part in pairs:
        torch.testing.assert_close(sub(whole, mask), part.view_as(sub(whole, mask)), rtol=1e-9, atol=1e-12)
        assert (whole[:, :, ~mask] == 0).all()
    torch.testing.assert_close(masked.dual(v), alone.dual(sub(v, mask)))
    inside = torch.where(mask, v - x, 0.0)
    torch.testing.assert_close(masked.size(inside), alone.size(sub(v - x, mask)))


@every_norm
def test_a_change_outside_the_mask_has_infinite_size(norm):
    mask = some_mask(1)
    masked, _ = both(norm, mask)
    delta = torch.zeros(2, 2, 4, 5)
    delta[:, 0, 0, 0] = 0.1
    row, column = (~mask).nonzero()[0].tolist()
    delta[1, 1, row, column] = 1e-30
    assert masked.size(delta).isfinite().tolist() == [True, False]
    assert masked.size(torch.full_like(delta, torch.nan)).isinf().all()


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_random_points_stay_in_mask_and_ball(norm, dtype, shape):
    mask = some_mask(3, shape)
    masked, _ = both(norm, mask)
    x = pictures(3, 40)[0].to(dtype)
    for point in (masked.sample(x, Draws(3, torch.arange(40))), masked.edge(x, Draws(3, torch.arange(40)))):
        assert point.dtype == dtype
        assert torch.equal(torch.where(mask, x, point), x)
        assert (masked.size(point - x) <= RADIUS[norm] * (1 + 1e-6)).all()
        assert ((point >= 0) & (point <= 1)).all()
        torch.testing.assert_close(masked.project(point, x), point, rtol=0, atol=1e-6)
        assert ((point != x) & mask).flatten(1).any(1).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_samples_are_uniform_in_the_ball_of_the_allowed_values(norm):
    """The share of a ball of k dimensions within r is r^k, with k the allowed values and not all."""
    n, mask = 4000, torch.tensor([True, False, False, True, False, False, False, True])
    masked = Masked(eps=0.4, norm=norm, mask=mask, low=-1.0, high=1.0)
    x = torch.zeros(n, 8, dtype=torch.float64)
    inner = (masked.size(masked.sample(x, Draws(3, torch.arange(n)))) / 0.4) ** 3
    assert abs(float(inner.mean()) - 0.5) < 0.03
    assert abs(float((inner < 0.25).double().mean()) - 0.25) < 0.03
    if norm == "linf":
        edge = masked.size(masked.edge(x, Draws(3, torch.arange(n))))
        torch.testing.assert_close(edge, torch.full_like(edge, 0.4))


def test_l0_under_a_mask_changes_as_many_places_as_there_are():
    masked = Masked(eps=3, norm="l0", mask=torch.tensor([True, False, False, True, False]))
    x = torch.full((50, 5), 0.3, dtype=torch.float64)
    point = masked.sample(x, Draws(0, torch.arange(50)))
    assert (masked.size(point - x) == 2).all()


def test_one_mask_and_one_radius_a_lane():
    """As if each was alone; taken, joined and split like any lane tensor."""
    x, v = pictures(5)
    masks = torch.stack([some_mask(seed)[None] for seed in range(4)])
    lanes = Masked(eps=torch.tensor([0.1, 0.2, 0.3, 0.0]), mask=masks)
    got, draws = lanes.project(v, x), Draws(5, torch.arange(4))
    sampled = lanes.sample(x, draws)
    for i in range(4):
        alone = Masked(eps=float(lanes.eps[i]), mask=masks[i, 0])
        one = torch.tensor([i])
        torch.testing.assert_close(got[one], alone.project(v[one], x[one]))
        torch.testing.assert_close(sampled[one], alone.sample(x[one], take(draws, one)))
        torch.testing.assert_close(take(lanes, one).project(v[one], x[one]), got[one])
    both_halves = join([take(lanes, torch.tensor([0, 1])), take(lanes, torch.tensor([2, 3]))])
    assert torch.equal(both_halves.project(v, x), got)
    shared = Masked(eps=0.2, mask=masks[0, 0])
    assert torch.equal(take(shared, torch.tensor([2])).project(v[2:3], x[2:3]), shared.project(v, x)[2:3])


def test_lane_masks_must_fit():
    x, v = pictures(5)
    with pytest.raises(
        OptionError, match=r"masks of \(3, 1, 4, 5\) for pictures of \(4, 2, 4, 5\); allowed: one a pic"
    ):
        Masked(eps=0.2, mask=torch.ones(3, 1, 4, 5, dtype=torch.bool)).project(v, x)
    with pytest.raises(OptionError, match=r"mask of 3 x 5 for pictures of 2 x 4 x 5; allowed: the pictures' own sides"):
        Masked(eps=0.2, mask=torch.ones(3, 5)).project(v, x)


# --- masks from files, and back from run.json ---


def test_masks_from_files_are_the_tensor_s(tmp_path):
    mask = some_mask(7)
    Image.fromarray((mask.numpy() * 255).astype(np.uint8)).save(tmp_path / "m.png")
    Image.fromarray(np.where(mask.numpy()[..., None], [200, 220, 210], [90, 30, 60]).astype(np.uint8)).save(
        tmp_path / "colours.png"
    )
    np.save(tmp_path / "m.npy", mask.numpy())
    np.save(tmp_path / "levels.npy", mask.numpy().astype(np.float32) * 255)
    of = Mask.of(mask)
    for name in ("m.png", "colours.png", "m.npy", "levels.npy"):
        threat = threats.build("masked", eps=0.2, options={"mask": str(tmp_path / name)})
        assert (threat.mask.sha256, threat.mask.shape, threat.mask.runs) == (of.sha256, of.shape, of.runs)
        assert torch.equal(threat.mask.held.on(torch.device("cpu")), mask)
        assert (threat.mask.file, threat.mask.allowed) == (name, int(mask.sum()))


@few
@given(seed=seeds, shape=st.sampled_from([(4, 5), (2, 4, 5), (7,)]))
def test_a_mask_reads_back_from_what_is_on_record(seed, shape):
    mask = torch.tensor(np.random.default_rng(seed).random(shape) < 0.5)
    mask[..., -1] = True
    threat = Masked(eps=0.2, mask=mask)
    again = parse(Masked, to_plain(threat))
    assert again == threat
    assert torch.equal(again.mask.held.on(torch.device("cpu")), mask)
    plain = to_plain(threat)
    plain["mask"]["sha256"] = "0" * 64
    with pytest.raises(OptionError, match=r"its hash is .*, 000000000000\.\.\. was on record; allowed: the same mask"):
        parse(Masked, plain)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (torch.zeros(4, 5), r"none of 20 values may change; allowed: at least one"),
        (torch.arange(6.0).view(2, 3), r"values from 0 to 5; allowed: 0 where nothing may change and one other number"),
        (torch.ones(2, 1, 1, 4, 5), r"a tensor of \(2, 1, 1, 4, 5\); allowed: \(H, W\) or \(C, H, W\)"),
        ("no-such.png", r"mask 'no-such.png' cannot be read: FileNotFoundError: .*; allowed: a PNG, white where"),
        ("no-such.npy", r"mask 'no-such.npy' cannot be read"),
    ],
)
def test_wrong_masks_say_how_to_mend_them(mask, text):
    with pytest.raises(OptionError, match=text):
        Masked(eps=0.1, mask=mask)


def test_wrong_files_say_how_to_mend_them(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "black.npy", np.zeros((3, 3)))
    for name, text in (
        ("text.png", "cannot be read: UnidentifiedImageError"),
        ("words.npy", r"it holds <U1 of shape \(2,\)"),
        ("black.npy", "none of 9 values may change in 'black.npy'"),
    ):
        with pytest.raises(OptionError, match=text):
            Mask.read(tmp_path / name)
    with pytest.raises(OptionError, match="Mask: runs sum to 3; allowed: the 4 values"):
        Mask((2, 2), (1, 2))
    with pytest.raises(OptionError, match="Masked: norm='lp'; allowed: linf, l2, l1, l0, pixels"):
        Masked(eps=0.1, norm="lp", mask=torch.ones(2, 2))
    with pytest.raises(OptionError, match="Linf: eps=3; allowed"):
        Masked(eps=3, mask=torch.ones(2, 2))
    with pytest.raises(OptionError, match=r"L0: eps=2\.5; allowed: whole numbers"):
        Masked(eps=2.5, norm="l0", mask=torch.ones(2, 2))
    with pytest.raises(OptionError, match="mask is not given and has no default"):
        threats.build("masked", eps=0.1)


# --- a patch ---


def covered(start, side, shape):
    """(H, W) bool, the square at `start`, moved back into the picture."""
    mask = torch.zeros(shape, dtype=torch.bool)
    row, column = (max(min(at, room - side), 0) for at, room in zip(start, shape, strict=True))
    mask[row : row + side, column : column + side] = True
    return mask


@few
@given(seed=seeds, eps=st.integers(0, 7), place=st.sampled_from([(0, 0), (2, 1), (3, 4), "corner", "free"]))
def test_projected_to_the_nearest_square(seed, eps, place):
    """Against every place that is allowed."""
    x, v = pictures(seed)
    starts = itertools.product(range(4), range(5)) if place == "free" else [(0, 0) if place == "corner" else place]
    squares = [covered(start, eps, (4, 5)) for start in starts]
    points = torch.stack([torch.where(mask, v.clamp(0, 1), x) for mask in squares])
    best = (points - v).square().flatten(2).sum(2).amin(0)
    threat = Patch(eps=eps, place=place)
    got = threat.project(v, x)
    torch.testing.assert_close((got - v).square().flatten(1).sum(1), best)
    assert (threat.size(got - x) <= eps).all()
    assert torch.equal(threat.project(got, x), got)
    assert torch.equal(threat.project(got, x, threat.limits(x), out=got.clone()), got)
    delta, length = v - x, torch.full((4,), float(eps)).double()
    kept = torch.stack([torch.where(mask, delta, 0.0) for mask in squares])
    nearest = (kept - delta).square().flatten(2).sum(2).amin(0)
    torch.testing.assert_close((threat.shorten(delta, length) - delta).square().flatten(1).sum(1), nearest)


@few
@given(seed=seeds, place=st.sampled_from([(0, 0), (2, 1), (3, 4), "free"]), count=st.integers(0, 4))
def test_size_is_the_smallest_square_that_covers_the_change(seed, place, count):
    rng = np.random.default_rng(seed)
    delta = torch.zeros(1, 2, 4, 5)
    for channel, row, column in zip(rng.integers(0, 2, count), rng.integers(0, 4, count), rng.integers(0, 5, count)):
        delta[0, channel, row, column] = 1e-30
    changed = (delta != 0).any(1)[0]
    starts = list(itertools.product(range(4), range(5))) if place == "free" else [place]
    smallest = next(
        side for side in range(6) if any(not bool((changed & ~covered(start, side, (4, 5))).any()) for start in starts)
    )
    threat = Patch(eps=0, place=place)
    assert threat.size(delta).tolist() == [smallest]
    x = torch.zeros_like(delta)
    place_of = None if place == "free" else place
    for side in range(6):
        seen = verify(
            linear(torch.ones(2, 40)), x, delta, torch.tensor([0]), norm="patch", eps=side, place=place_of, batch=1,
            refuse_nothing=False,
        )  # fmt: skip
        assert seen.size.tolist() == [smallest]
        assert bool(seen.inside_eps[0]) == (smallest <= side)


@few
@given(seed=seeds, place=st.sampled_from([(0, 0), (2, 1), "free"]))
def test_smallest_square_that_reaches_a_plane(seed, place):
    x, normal = pictures(seed)
    normal = normal - 0.5
    gains = (normal.abs() * torch.where(normal > 0, 1 - x, x)).sum(1)
    gap = gains.sum((1, 2)) * torch.tensor([0.02, 0.3, 0.8, 0.99]).double()
    threat = Patch(eps=1, place=place)
    move = threat.reach(x, normal, gap)
    torch.testing.assert_close((normal * move).flatten(1).sum(1), gap)
    assert ((x + move >= -1e-12) & (x + move <= 1 + 1e-12)).all()
    starts = list(itertools.product(range(4), range(5))) if place == "free" else [place]
    for row, need, side in zip(gains, gap, threat.size(move)):
        enough = [
            s for s in range(6) if any((row * covered(start, s, (4, 5))).sum() >= need * (1 - 1e-9) for start in starts)
        ]
        assert side == enough[0]
    back = threat.reach(x, normal, -gap / 10)
    torch.testing.assert_close((normal * back).flatten(1).sum(1), -gap / 10)
    assert (threat.reach(x, normal, torch.zeros(4)) == 0).all()


@few
@given(seed=seeds, place=st.sampled_from([(0, 0), (2, 1), "free"]))
def test_shrunk_to_the_square_that_costs_least(seed, place):
    delta = pictures(seed)[1] - 0.5
    amount = torch.tensor([0.0, 0.3, 1.0, 9.0]).double()
    threat = Patch(eps=1, place=place)
    got = threat.shrink(delta, amount)
    starts = list(itertools.product(range(4), range(5))) if place == "free" else [place]
    for i in range(4):
        costs = [
            amount[i] * side + torch.where(covered(start, side, (4, 5)), 0.0, delta[i]).square().sum() / 2
            for start in starts
            for side in range(6)
        ]
        cost = amount[i] * threat.size(got[i : i + 1])[0] + (got[i] - delta[i]).square().sum() / 2
        assert cost <= min(costs) + 1e-9


def test_steps_of_a_patch_are_shares_of_the_box():
    grad = torch.tensor([[[[1.0, -2.0, 0.0], [3.0, 0.5, torch.nan], [0.1, 0.1, 0.1]]]])
    move = Patch(eps=2, place=(0, 0), low=-1.0, high=3.0).steepest(grad)
    assert move.tolist() == [[[[2, -2, 0], [2, 2, 0], [0, 0, 0]]]]
    free = Patch(eps=2, place="free").steepest(grad)
    assert free[0, 0, :2, :2].abs().tolist() == [[0.5, 0.5], [0.5, 0.5]]
    torch.testing.assert_close(free[0, 0, 2], torch.full((3,), 0.45))
    assert (Patch(eps=2).steepest(torch.zeros_like(grad)) == 0).all()
    assert Patch(eps=3, place="free", high=2.0).dual(grad.nan_to_num()).tolist() == [6]
    assert Patch(eps=3, place=(1, 1), high=2.0).dual(grad.nan_to_num()).tolist() == [1]


def test_random_patches_lie_everywhere_alike():
    n, x = 6000, torch.full((6000, 1, 4, 5), 0.5, dtype=torch.float64)
    delta = Patch(eps=2, place="free").sample(x, Draws(1, torch.arange(n))) - x
    changed = (delta != 0).any(1)
    assert (changed.flatten(1).sum(1) == 4).all()
    corner = changed.flatten(1).int().argmax(1)
    counts = torch.bincount(corner, minlength=20).view(4, 5)[:3, :4]
    assert int(counts.sum()) == n
    assert ((counts - n / 12).abs() < 5 * (n / 12) ** 0.5).all()
    fixed = Patch(eps=2, place=(3, 4))
    inside = (fixed.sample(x, Draws(1, torch.arange(n))) != x)[:, 0]
    assert torch.equal(inside.all(0), covered((3, 4), 2, (4, 5)))


def test_one_place_and_one_side_a_lane():
    x, v = pictures(5)
    lanes = Patch(eps=torch.tensor([1.0, 2.0, 3.0, 9.0]), place=torch.tensor([[0, 0], [1, 3], [3, 4], [2, 2]]))
    got, size = lanes.project(v, x), lanes.size(v - x)
    for i in range(4):
        one = torch.tensor([i])
        alone = Patch(eps=float(lanes.eps[i]), place=tuple(lanes.place[i].tolist()))
        assert torch.equal(got[one], alone.project(v[one], x[one]))
        assert torch.equal(size[one], alone.size((v - x)[one]))
        assert torch.equal(take(lanes, one).project(v[one], x[one]), got[one])
    free = replace(lanes, place="free")
    for i in range(4):
        one = torch.tensor([i])
        assert torch.equal(free.project(v, x)[one], Patch(eps=float(free.eps[i]), place="free").project(v[one], x[one]))


def test_window_sums_are_sums():
    values = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(1))
    side = torch.tensor([1, 3, 9])
    got = sums(values, side)
    for n, row, column in itertools.product(range(3), range(5), range(4)):
        part = values[n, row : row + side[n], column : column + side[n]].double().sum()
        torch.testing.assert_close(got[n, row, column], part)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"place": (1, -1)}, r"Patch: place=\(1, -1\); allowed: 'corner', 'free', or row and column"),
        ({"place": "middle"}, r"Patch: place='middle'; allowed: 'corner', 'free'"),
        ({"place": torch.zeros(3, 3)}, r"place is torch.float32 of shape \(3, 3\); allowed: int64 \(N, 2\)"),
        ({"eps": -1}, r"Patch: eps=-1; allowed: 0 <= eps"),
    ],
)
def test_wrong_patches_say_how_to_mend_them(options, text):
    with pytest.raises(OptionError, match=text):
        Patch(**{"eps": 2, **options})


def test_places_outside_the_pictures_are_refused():
    x, _ = pictures(0)
    with pytest.raises(OptionError, match="place=4,0 in pictures of 4 x 5; allowed: rows 0 to 3, columns 0 to 4"):
        Patch(eps=2, place=(4, 0)).limits(x)
    with pytest.raises(OptionError, match="3 places for 4 pictures; allowed: one place, or one a picture"):
        Patch(eps=2, place=torch.zeros(3, 2, dtype=torch.int64)).limits(x)
    assert threats.build("patch", eps=5, options={"place": "1,2"}).place == (1, 2)
    assert threats.build("patch", eps=5, options={"place": "free"}).free
    assert threats.build("patch", eps=5).corner(x).tolist() == [[0, 0]] * 4


def test_the_whole_box():
    mask = some_mask(2)
    assert whole_box(Patch(eps=0), (3, 4, 6)) == 6
    assert whole_box(Patch(eps=0, place=(3, 3)), (3, 4, 6)) == 6
    assert whole_box(Masked(eps=0, norm="l0", mask=mask), (3, 4, 5)) == 3 * mask.sum()
    assert whole_box(Masked(eps=0, norm="pixels", mask=mask), (3, 4, 5)) == mask.sum()
    assert whole_box(Masked(eps=0, mask=mask, high=7.0), (3, 4, 5)) == 7
    with pytest.raises(OptionError, match="allowed: up to 6, the patch size of the whole box"):
        radii(Patch(eps=7), None, (3, 4, 6))


# --- the verifier knows masks and places by itself ---


def test_a_change_outside_by_one_value_is_no_success():
    x, y = torch.zeros(3, 1, 4, 5), torch.tensor([0, 0, 0])
    model = linear(torch.stack([torch.zeros(20), torch.ones(20)]), torch.tensor([0.5, 0.0]))
    mask = torch.zeros(4, 5, dtype=torch.bool)
    mask[1:3, 1:3] = True
    x_adv = torch.zeros_like(x)
    x_adv[:, 0, 1:3, 1:3] = 1.0
    x_adv[1, 0, 3, 1] = 1e-30
    for threat in (Masked(eps=1.0, mask=mask), Patch(eps=2, place=(1, 1))):
        seen = verify(model, x, x_adv, y, **measured(threat), batch=2)
        assert seen.success.tolist() == [True, False, True]
        assert seen.inside_eps.tolist() == [True, False, True]
    assert verify(model, x, x_adv, y, **measured(Patch(eps=2, place="free"))).success.tolist() == [True, False, True]
    assert verify(model, x, x_adv, y, **measured(Patch(eps=3, place="free"))).success.all()
    assert not verify(model, x, x_adv, y, **measured(Patch(eps=2)), refuse_nothing=False).success.any()
    assert verify(model, x, x_adv, y, **measured(Patch(eps=3))).success.tolist() == [True, False, True]
    one_each = torch.stack([mask[None], mask.new_ones(1, 4, 5), ~mask[None]])
    seen = verify(model, x, x_adv, y, **measured(Masked(eps=1.0, mask=one_each)), batch=2)
    assert seen.success.tolist() == [True, True, False]
    assert torch.equal(seen.size.isinf(), torch.tensor([False, False, True]))
    places = torch.tensor([[1, 1], [0, 0], [1, 2]])
    seen = verify(model, x, x_adv, y, **measured(Patch(eps=2, place=places)), batch=2)
    assert seen.success.tolist() == [True, False, False]


def test_verifier_refuses_masks_that_do_not_fit():
    x = torch.zeros(2, 1, 4, 5)
    model, y = linear(torch.ones(2, 20)), torch.tensor([0, 0])
    for mask in (torch.ones(4, 5), torch.ones(5, 4, dtype=torch.bool)):
        with pytest.raises(OptionError, match=r"verify: mask is .* for pictures \(2, 1, 4, 5\); allowed: bool"):
            verify(model, x, x, y, norm="linf", eps=1.0, mask=mask)
    assert norm_of(Masked(eps=1, norm="pixels", mask=torch.ones(4, 5))) == "pixels"


def test_options_one_a_picture_are_for_python():
    x, _ = pictures(0)
    for threat in (
        Masked(eps=0.1, mask=torch.ones(4, 1, 4, 5, dtype=torch.bool)),
        Patch(eps=2, place=torch.zeros(4, 2, dtype=torch.int64)),
    ):
        with pytest.raises(OptionError, match=r"has options for each picture; allowed: one mask or place for all"):
            radii(threat, None, tuple(x.shape[1:]))


# --- which attacks have a form ---


def test_attacks_without_a_form_are_refused_and_left_out():
    case = tiny_case(8)
    mask = torch.ones(3, 3)
    for attack, threat in (
        (DDN(), Patch(eps=1)),
        (Square(), Masked(eps=0.5, norm="l2", mask=mask)),
        (SparseRS(), Patch(eps=1)),
    ):
        with pytest.raises(OptionError, match=f"{attack.name}: threat '{threat.name}'; allowed"):
            run(attack, case.model, case.x, case.y, threat)
    assert suits(Square(), Masked(eps=0.5, mask=mask))
    with pytest.raises(OptionError, match="suite 'standard': threat 'patch'; allowed"):
        SUITES["standard"].within(Patch(eps=1))


@pytest.mark.parametrize(
    "attack", [PGD(steps=6), APGD(steps=6), LaVAN(steps=6), Square(queries=20)], ids=lambda a: a.name
)
def test_lanes_with_masks_and_places_of_their_own_are_each_as_alone(attack):
    case = tiny_case(12)
    masks = torch.stack([some_mask(seed, (3, 3))[None] for seed in range(12)])
    places = torch.tensor([[seed % 3, seed // 4] for seed in range(12)])
    for threat, one in (
        (Masked(eps=0.2, mask=masks), Masked(eps=0.2, mask=masks[7, 0])),
        (Patch(eps=2, place=places), Patch(eps=2, place=tuple(places[7].tolist()))),
    ):
        if not suits(attack, threat):
            continue
        whole = run(attack, case.model, case.x, case.y, threat, seed=3, batch=64)
        split = run(attack, case.model, case.x, case.y, threat, seed=3, batch=5)
        torch.testing.assert_close(whole.x_adv, split.x_adv)
        alone = run(attack, case.model, case.x, case.y, one, seed=3, batch=5)
        torch.testing.assert_close(whole.x_adv[7], alone.x_adv[7])
        assert (threat.size(whole.x_adv - case.x) <= threat.eps * (1 + 1e-9)).all()


# --- LaVAN ---


def two_classes(weight):
    """Class 1 once <weight, x> exceeds what it is at the picture x = 0.5 by `above`."""
    weight = torch.as_tensor(weight, dtype=torch.float64)
    return lambda above: linear(
        torch.stack([-weight / 2, weight / 2]),
        torch.tensor([(weight.sum() / 2 + above) / 2, -(weight.sum() / 2 + above) / 2]),
    )


@few
@given(seed=seeds, side=st.integers(1, 4))
def test_the_best_free_patch_of_a_linear_model(seed, side):
    """By all places tried: it wins at 0.99 of what the best can gain, and fails at 1.01."""
    weight = np.random.default_rng(seed).standard_normal(30)
    x, y = torch.full((1, 1, 5, 6), 0.5, dtype=torch.float64), torch.tensor([0])
    gain = torch.tensor(np.abs(weight) / 2).view(5, 6)
    most = max(float((gain * covered(start, side, (5, 6))).sum()) for start in itertools.product(range(5), range(6)))
    for share, wins in ((0.99, True), (1.01, False)):
        attack = LaVAN(steps=5, step_size=1e6)  # so far that every value gets to its side
        found = run(attack, two_classes(weight)(share * most), x, y, Patch(eps=side, place="free"), seed=seed)
        assert bool(found.success[0]) == wins
        assert found.size[0] <= side


@pytest.mark.parametrize("place", [(0, 0), (2, 3)])
def test_the_fixed_patch_of_a_linear_model(place):
    weight = np.random.default_rng(1).standard_normal(30)
    x, y = torch.full((1, 1, 5, 6), 0.5, dtype=torch.float64), torch.tensor([0])
    most = float((torch.tensor(np.abs(weight) / 2).view(5, 6) * covered(place, 2, (5, 6))).sum())
    for share, wins in ((0.99, True), (1.01, False)):
        for attack in (LaVAN(steps=5, step_size=1e6), PGD(steps=40), APGD(steps=40)):
            found = run(attack, two_classes(weight)(share * most), x, y, Patch(eps=2, place=place))
            assert bool(found.success[0]) == wins


def test_lavan_reaches_a_class_and_not_any():
    case = tiny_case(40)
    target = (case.y + 1) % 4
    found = run(LaVAN(steps=40), case.model, case.x, case.y, Patch(eps=2), target=target)
    assert found.success.sum() > 10
    case.model.eval()
    assert torch.equal(case.model(found.x_adv).argmax(1) == target, found.success)
    case.model.train()


def test_the_network_domain_is_a_wider_box_and_no_picture():
    """A linear model that no picture's corner can turn falls to values beyond the pixels'; the verifier says which."""
    weight = np.ones(30)
    x, y = torch.full((1, 1, 5, 6), 0.5, dtype=torch.float64), torch.tensor([0])
    model = two_classes(weight)(4.0)  # four values of the corner gain 2 at most within [0, 1]
    image, network = Patch(eps=2), Patch(eps=2, low=-2.0, high=3.0)
    assert not run(LaVAN(steps=40), model, x, y, image).success.any()
    found = run(LaVAN(steps=40), model, x, y, network)
    assert found.success.all()
    assert verify(model, x, found.x_adv, y, **measured(network)).success.all()
    seen = verify(model, x, found.x_adv, y, **measured(image))
    assert not seen.inside_box.any()
    assert not seen.success.any()


def test_restarts_of_a_free_patch_try_other_places():
    x, y = torch.full((6, 1, 9, 9), 0.5, dtype=torch.float64), torch.zeros(6, dtype=torch.int64)
    weight = torch.ones(81).double()
    model = two_classes(weight)(1e6)
    places = set()
    for seed in range(4):
        once = run(LaVAN(steps=2), model, x, y, Patch(eps=2, place="free"), seed=seed, aim="highest_loss")
        assert (
            (once.x_adv != x)[:, 0, :2, :2].flatten(1).any(1).all()
        )  # all places are alike to the gradient: the first
        more = run(LaVAN(steps=2, restarts=5), model, x, y, Patch(eps=2, place="free"), seed=seed, aim="highest_loss")
        assert (more.size <= 2).all()
        places |= {int(row.flatten().int().argmax()) for row in (more.x_adv != x)}
    assert len(places) > 1


# --- the evaluation ---


@pytest.fixture(scope="module")
def digits_run():
    return honest("cnn"), digits().take(slice(0, 60))


def test_an_evaluation_records_where_changes_were_allowed(tmp_path, digits_run):
    model, data = digits_run
    mask = torch.zeros(8, 8)
    mask[:3] = 1
    np.save(tmp_path / "top.npy", mask.numpy())
    threat = threats.build("masked", eps=1.0, options={"mask": str(tmp_path / "top.npy")})
    found = evaluate(model, data, threat, PGD(steps=10), eps=[0.3, 1.0], out=tmp_path / "run")
    recorded = found.summary["threat"]
    assert recorded["mask"]["sha256"] == Mask.of(mask).sha256
    assert recorded["mask"]["file"] == "top.npy"
    assert parse(Mask, recorded["mask"]).runs == (0, 24, 40)
    assert found.believe
    page = write([found.run]).read_text()
    assert "Changes were allowed only where the mask is white." in page
    assert drawn(recorded["mask"]) in page
    assert "L∞ in 24 values of top.npy" in page
    other = replace(threat, mask=1 - mask)
    with pytest.raises(Exception, match=r"threat\.mask\.sha256 was"):
        evaluate(model, data, other, PGD(steps=10), eps=[0.3, 1.0], out=tmp_path / "run", resume=True)


def test_reports_say_where_a_patch_may_lie():
    named = {place: words.norm(plain(Patch(eps=2, place=place))) for place in ("corner", "free", (3, 4))}
    assert named == {"corner": "patch in the corner", "free": "patch anywhere", (3, 4): "patch at 3,4"}


def test_patches_of_several_sides_make_a_curve(digits_run):
    model, data = digits_run
    found = evaluate(model, data, Patch(eps=1, place="free"), LaVAN(steps=20), eps=[1, 2, 3, 8])
    assert [point.eps_text for point in found.curve] == ["1", "2", "3", "8"]
    assert found.robust.k == 0
    assert found.believe
    verdicts = {check.name: check.verdict for check in found.checks}
    assert verdicts["unbounded"] == "pass"
    assert verdicts["scores-only"] == verdicts["binarisation"] == verdicts["ascent"] == "skipped"


def test_every_attack_has_a_word_on_patches():
    """Those that name no norms ask the threat alone; what they find is inside it."""
    case = tiny_case(6)
    for kind in ATTACKS.values():
        attack = kind()
        for threat in (Patch(eps=2), Masked(eps=0.3, mask=torch.eye(3))):
            if suits(attack, threat) and attack.name not in ("fab", "fab-t", "bisect", "hill-climbing", "square"):
                found = run(attack, case.model, case.x, case.y, threat)
                assert (threat.size(found.x_adv - case.x) <= threat.eps * (1 + 1e-9)).all()


def test_a_good_attack_on_a_small_patch_is_not_held_against_it():
    """Within few pixels guessing is nearly as good, at every whole radius."""
    made = evaluate(honest("mlp"), digits().take(slice(0, 60)), Patch(eps=2), LaVAN(steps=30), batch=60)
    (check,) = [check for check in made.checks if check.name == "noise"]
    assert check.verdict in ("skipped", "pass"), check.evidence


def test_the_quick_suite_takes_a_patch_by_both_ways():
    assert [attack.name for attack in SUITES["quick"].within(Patch(eps=2))] == ["pgd", "lavan"]


def test_the_steepest_free_square_has_room_to_move():
    """Two pixels of equal slope, one of them at the side of the box already."""
    x = torch.tensor([[[[1.0, 0.5]]]])
    step = Patch(eps=1, place="free").steepest(torch.tensor([[[[1.0, 0.9]]]]), x)
    assert step.abs().argmax() == 1


def test_fab_takes_the_mask_of_each_picture():
    case = tiny_case()
    mask = torch.rand(len(case.x), 1, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.6
    found = run(FAB(steps=4), case.model, case.x, case.y, Masked(norm="linf", mask=mask, eps=0.3))
    assert ((found.x_adv == case.x) | mask).all()
    assert found.success.sum() > 2

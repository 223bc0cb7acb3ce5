"""Augmentations: one table of properties, and each against an answer that is known exactly."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy import ndimage

from holdfast.augment import (
    AUGMENTATIONS,
    AugMix,
    Blur,
    Brightness,
    Colour,
    Contrast,
    Crop,
    Cutout,
    Mirror,
    Mixup,
    Moving,
    Noise,
    Rotate,
    Scale,
    augmented,
    build,
)
from holdfast.augment.operations import OPERATIONS, amounts, operate
from holdfast.draws import Draws
from holdfast.errors import OptionError

TABLE = [
    Crop(pad=3),
    Crop(pad=12, border="reflect"),
    Mirror(),
    Rotate(degrees=40),
    Rotate(degrees=40, border="reflect"),
    Scale(factor=(0.6, 1.5)),
    Scale(factor=(0.6, 1.5), border="reflect"),
    Brightness(),
    Contrast(),
    Colour(hue=0.3),
    Blur(),
    Noise(),
    Cutout(side=4, squares=2),
    AugMix(),
    AugMix(width=1, depth=(2, 2), severity=10),
]
NEUTRAL = [
    Crop(pad=0),
    Crop(pad=0, border="reflect"),
    Mirror(chance=0),
    Rotate(degrees=0),
    Scale(factor=(1, 1)),
    Brightness(amount=0),
    Contrast(amount=0),
    Colour(saturation=0, hue=0),
    Blur(chance=0),
    Noise(deviation=0),
    Cutout(squares=0),
]
MOVING = [each for each in TABLE if isinstance(each, Moving) and not isinstance(each, AugMix)]
every = pytest.mark.parametrize("augmentation", TABLE, ids=repr)
moving = pytest.mark.parametrize("augmentation", MOVING, ids=repr)
channels = pytest.mark.parametrize("channels", [1, 3])


def some(n=12, channels=3, height=9, width=11, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64).to(dtype)


def changed(augmentation, x, seed=7, place=None):
    return augmented(x, [augmentation], seed=seed, place=torch.arange(len(x)) if place is None else place)


def colourless(augmentation, channels):
    """Whether it refuses such pictures, which a test of its own checks."""
    return isinstance(augmentation, Colour) and channels != 3


@dataclass(frozen=True)
class Fixed:
    """Draws that always come out alike: `value` (k,), one row for every picture."""

    picture: torch.Tensor
    value: torch.Tensor

    def uniform(self, like, stream=0):
        return self.value.to(like).expand(like.shape).clone()


def fixed(x, *value):
    return Fixed(torch.arange(len(x)), torch.tensor(value, dtype=torch.float64))


def test_the_table_has_every_augmentation():
    assert {type(each) for each in TABLE} == set(AUGMENTATIONS.values())
    assert {type(each) for each in NEUTRAL} == set(AUGMENTATIONS.values()) - {AugMix}
    assert all(kind.name == name for name, kind in AUGMENTATIONS.items())


@every
@channels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_shape_and_dtype_and_range_and_its_input(augmentation, channels, dtype):
    if colourless(augmentation, channels):
        return
    x = some(channels=channels, dtype=dtype)
    before = x.clone()
    found = changed(augmentation, x)
    assert found.shape == x.shape
    assert found.dtype == dtype
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(x, before)
    assert (found != x).flatten(1).any(1).sum() >= 3


@every
def test_memory_may_lie_with_channels_last(augmentation):
    x = some()
    there = changed(augmentation, x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(there, changed(augmentation, x), rtol=0, atol=1e-12)


@every
def test_black_and_white_stay_in_range(augmentation):
    x = torch.cat([torch.zeros(6, 3, 8, 8), torch.ones(6, 3, 8, 8)])
    found = changed(augmentation, x)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


@every
@channels
def test_a_picture_is_changed_alike_in_any_batch_and_order(augmentation, channels):
    if colourless(augmentation, channels):
        return
    x, place = some(channels=channels), torch.arange(12)
    whole = changed(augmentation, x)
    parts = torch.cat([changed(augmentation, x[rows], place=place[rows]) for rows in place.split(5)])
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(changed(augmentation, x[order], place=place[order]), whole[order], rtol=0, atol=1e-12)


@every
def test_equal_pictures_in_one_batch_are_changed_differently(augmentation):
    x = some(n=1).expand(16, -1, -1, -1)
    found = changed(augmentation, x)
    distinct = len(torch.unique(found.flatten(1), dim=0))
    assert distinct == 2 if isinstance(augmentation, Mirror) else distinct >= 6


@every
def test_another_seed_or_position_in_the_list_changes_otherwise(augmentation):
    x, place = some(n=16), torch.arange(16)
    found = changed(augmentation, x)
    assert torch.equal(found, changed(augmentation, x))
    assert not torch.equal(found, changed(augmentation, x, seed=8))
    second = augmented(x, [Mirror(chance=0), augmentation], seed=7, place=place)
    assert not torch.equal(found, second)


@every
def test_float32_draws_what_float64_draws(augmentation):
    if isinstance(augmentation, AugMix):
        # Where rounding crosses the middle between two levels, tables answer with another one: few pixels, not all.
        off = (changed(augmentation, some(dtype=torch.float32)) - changed(augmentation, some()).float()).abs() > 1e-4
        assert off.float().mean() < 0.01
        return
    torch.testing.assert_close(
        changed(augmentation, some(dtype=torch.float32)), changed(augmentation, some()).float(), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("augmentation", NEUTRAL, ids=repr)
@channels
def test_neutral_options_change_nothing(augmentation, channels):
    if colourless(augmentation, channels):
        return
    x = some(channels=channels)
    # Kornia adds 1e-8 to what it divides by on the way to hues and back.
    atol = 2e-8 if isinstance(augmentation, Colour) else 1e-9
    torch.testing.assert_close(changed(augmentation, x), x, rtol=0, atol=atol)


@every
@given(height=st.integers(1, 7), width=st.integers(1, 7), n=st.integers(0, 3))
def test_any_size_of_picture(augmentation, height, width, n):
    x = some(n=n, height=height, width=width)
    found = changed(augmentation, x)
    assert found.shape == x.shape
    assert ((found >= 0) & (found <= 1)).all()


def shapes(n=12, height=17, width=14):
    """Label maps (n, height, width) int64 of a few large regions with labels 1 to 3."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    first = rows[None] > 4 + torch.arange(n)[:, None, None] % 5
    second = columns[None] > 5 + torch.arange(n)[:, None, None] % 4
    return 1 + first.long() + (first & second).long()


@moving
def test_a_mask_moves_with_its_picture(augmentation):
    masks = shapes()
    x = torch.stack([masks == label for label in (1, 2, 3)], 1).double()
    found, moved = augmented(x, [augmentation], seed=3, place=torch.arange(12), masks=masks)
    assert torch.equal(found, changed(augmentation, x, seed=3))
    assert moved.dtype == masks.dtype
    assert not torch.equal(moved, masks)
    shown = torch.stack([moved == label for label in (1, 2, 3)], 1)
    # Between regions pictures mix; where one is all of a label or has none of it, so must the mask be.
    pure = (found < 1e-9) | (found > 1 - 1e-9)
    assert pure.double().mean() > 0.75
    assert torch.equal(found[pure] > 0.5, shown[pure])
    exact = isinstance(augmentation, Crop | Mirror)
    assert not exact or pure.all()


@moving
def test_what_comes_in_from_outside_is_filled_where_the_picture_has_zeros(augmentation):
    x, masks = torch.ones(12, 1, 17, 14, dtype=torch.float64), shapes()
    found, moved = augmented(x, [augmentation], seed=3, place=torch.arange(12), masks=masks, fill=255)
    filled = moved == 255
    assert filled.any() == (getattr(augmentation, "border", None) == "zeros")
    assert (found[:, 0][filled] < 1 - 1e-9).all()
    assert (found[:, 0][~filled] > 0.2).all()


@moving
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_masks_of_any_type_and_with_channels(augmentation, dtype):
    masks, x, place = shapes().remainder(2).to(dtype), some(height=17, width=14), torch.arange(12)
    _, alone = augmented(x, [augmentation], seed=5, place=place, masks=masks)
    _, several = augmented(x, [augmentation], seed=5, place=place, masks=torch.stack([masks, ~masks.bool()], 1))
    assert alone.dtype == dtype
    assert torch.equal(several[:, 0].to(dtype), alone)


def test_labels_beyond_float32_survive_a_turn():
    masks = torch.full((4, 8, 8), 2**40 + 1)
    _, moved = augmented(some(4, height=8, width=8), [Rotate()], seed=0, place=torch.arange(4), masks=masks)
    assert set(moved.unique().tolist()) <= {0, 2**40 + 1}


def test_augmentations_that_move_nothing_leave_masks_alone():
    masks = shapes()
    rest = [each for each in TABLE if not isinstance(each, Moving)]
    _, moved = augmented(some(height=17, width=14), rest, seed=3, place=torch.arange(12), masks=masks)
    assert torch.equal(moved, masks)


def test_augmix_refuses_masks_and_says_why():
    with pytest.raises(OptionError, match="augmix: a mask cannot follow"):
        augmented(some(), [AugMix()], seed=0, place=torch.arange(12), masks=torch.zeros(12, 9, 11))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (6, 3)])
@pytest.mark.parametrize("border", ["zeros", "reflect"])
def test_crop_is_the_window_at_the_place_that_was_drawn(row, column, border):
    x = some(2)
    found = Crop(pad=3, border=border).apply(x, fixed(x, (row + 0.5) / 7, (column + 0.5) / 7))
    mode = {"zeros": "constant", "reflect": "reflect"}[border]
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (3, 3), (3, 3)], mode=mode)
    np.testing.assert_array_equal(found, padded[:, :, row : row + 9, column : column + 11])


def test_crops_take_each_place_about_as_often():
    x = torch.zeros(5000, 1, 5, 5)
    x[:, :, 2, 2] = 1
    found = changed(Crop(pad=2), x).mean(0)[0] * 5000
    assert found.sum() == pytest.approx(5000)
    assert ((found - 200).abs() < 5 * 200**0.5).all()


def test_mirror_exchanges_left_and_right_of_about_its_share():
    x = some(4000, 1, 1, 5)
    found = changed(Mirror(chance=0.3), x)
    flipped = (found == x.flip(3)).flatten(1).all(1)
    assert ((found == x).flatten(1).all(1) ^ flipped).all()
    assert flipped.double().mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("share", "quarters"), [(1.0, 1), (0.0, -1)])
def test_a_quarter_turn_is_exact_and_positive_is_against_the_clock(share, quarters):
    x = some(3, height=10, width=10)
    found = Rotate(degrees=90).apply(x, fixed(x, share))
    torch.testing.assert_close(found, x.rot90(quarters, (2, 3)), rtol=0, atol=1e-12)
    mask = (8 * x[:, 0]).long()
    assert torch.equal(Rotate(degrees=90).move(mask, fixed(x, share)), mask.rot90(quarters, (1, 2)))


@pytest.mark.parametrize("degrees", [17.0, -35.0])
def test_a_turn_is_that_of_scipy(degrees):
    x = some(2, 1, 9, 14)
    found = Rotate(degrees=abs(degrees)).apply(x, fixed(x, float(degrees > 0)))
    expected = ndimage.rotate(x.numpy(), degrees, (3, 2), reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(found, expected, atol=1e-12)
    mask = (1000 * x[:, 0]).long()
    moved = Rotate(degrees=abs(degrees)).move(mask, fixed(x, float(degrees > 0)), fill=-1)
    nearest = ndimage.rotate(mask.numpy(), degrees, (2, 1), reshape=False, order=0, mode="grid-constant", cval=-1)
    np.testing.assert_array_equal(moved, nearest)


@pytest.mark.parametrize("factor", [0.7, 1.6])
@pytest.mark.parametrize(("border", "mode"), [("zeros", "grid-constant"), ("reflect", "mirror")])
def test_a_scaled_picture_is_that_of_scipy(factor, border, mode):
    x = some(2, 1, 9, 14)
    found = Scale(factor=(factor, factor), border=border).apply(x, fixed(x, 0.0))
    middle = np.array([4, 6.5])
    for picture, expected in zip(found[:, 0], x[:, 0].numpy(), strict=True):
        one = ndimage.affine_transform(expected, [1 / factor] * 2, middle - middle / factor, order=1, mode=mode)
        np.testing.assert_allclose(picture, one, atol=1e-12)


@pytest.mark.parametrize(("share", "factor"), [(0.0, 0.6), (0.75, 1.2)])
def test_brightness_and_contrast_multiply(share, factor):
    x = 0.3 + 0.4 * some(3)
    torch.testing.assert_close(Brightness(amount=0.4).apply(x, fixed(x, share)), (factor * x).clamp(0, 1))
    found = Contrast(amount=0.4).apply(x, fixed(x, share))
    for one, picture in zip(found, x, strict=True):
        red, green, blue = picture.flatten(1).mean(1)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        torch.testing.assert_close(one, grey + factor * (picture - grey))


def test_contrast_of_one_channel_keeps_its_mean():
    x = 0.4 + 0.2 * some(5, 1)
    found = changed(Contrast(amount=1), x)
    torch.testing.assert_close(found.mean((1, 2, 3)), x.mean((1, 2, 3)))


def test_a_third_of_a_turn_takes_every_hue_to_the_next_channel():
    x = some(3)
    found = Colour(saturation=0, hue=1 / 3).apply(x, fixed(x, 1.0, 0.5))
    torch.testing.assert_close(found, x.roll(1, 1), rtol=0, atol=1e-6)


def test_no_saturation_leaves_the_largest_channel_in_all_and_greys_have_no_colour():
    x = some(3)
    found = Colour(saturation=1, hue=0).apply(x, fixed(x, 0.5, 0.0))
    torch.testing.assert_close(found, x.amax(1, keepdim=True).expand_as(x), rtol=0, atol=1e-6)
    grey = some(4, 1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(changed(Colour(saturation=1, hue=0.5), grey), grey, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_colour_refuses_pictures_without_colours(channels):
    with pytest.raises(OptionError, match=f"colour: pictures have {channels} channels; allowed: 3"):
        changed(Colour(), some(channels=channels))


@pytest.mark.parametrize("deviation", [0.5, 1.3])
def test_blur_is_that_of_scipy(deviation):
    x = some(3, 2, 15, 19)
    blur = Blur(deviation=(deviation, 2.0))
    found = blur.apply(x, fixed(x, 0.0, 0.0))
    expected = ndimage.gaussian_filter(x.numpy(), deviation, axes=(2, 3), mode="mirror", radius=6)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert torch.equal(replace(blur, chance=0.4).apply(x, fixed(x, 0.0, 0.5)), x)


def test_noise_is_normal_with_its_deviation():
    x = torch.full((20, 3, 40, 40), 0.5, dtype=torch.float64)
    noise = (changed(Noise(deviation=0.05), x) - 0.5).flatten() / 0.05
    count = len(noise)
    assert abs(noise.mean()) < 5 / count**0.5
    assert abs(noise.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((noise**4).mean() - 3) < 5 * (96 / count) ** 0.5
    assert abs((noise > 2).double().mean() - 0.02275) < 5 * (0.02275 / count) ** 0.5


@pytest.mark.parametrize("side", [1, 4, 5])
def test_cutout_is_a_square_of_zeros_around_each_centre(side):
    x = 0.5 + 0.5 * some(1, height=12, width=10)
    for row in range(12):
        for column in range(10):
            found = Cutout(side=side).apply(x, fixed(x, (row + 0.5) / 12, (column + 0.5) / 10))
            expected = x.clone()
            top, left = row - side // 2, column - side // 2
            expected[:, :, max(top, 0) : top + side, max(left, 0) : left + side] = 0
            assert torch.equal(found, expected)


def test_cut_out_squares_stick_out_as_often_as_centres_on_any_pixel_make_them():
    found = changed(Cutout(side=4), torch.ones(4000, 1, 10, 10))
    area = (found == 0).flatten(1).sum(1).double()
    assert area.max() == 16
    # The mean of what lies inside along a side is (2 + 3 + 7 * 4 + 3) / 10 = 3.6, both sides alike.
    assert area.mean() == pytest.approx(3.6**2, abs=0.25)
    assert (found[:, :, 0, 0] == 0).double().mean() == pytest.approx(0.09, abs=0.02)
    several = (changed(Cutout(side=4, squares=3), torch.ones(500, 1, 10, 10)) == 0).flatten(1).sum(1)
    assert several.max() > 30
    assert several.max() <= 48


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_moments_of_beta(alpha):
    x = torch.zeros(20000, 1, 1, 1, dtype=torch.float64)
    _, share = Mixup(alpha=alpha).mix(x, x, Draws(3, torch.arange(20000)))
    variance = 1 / (4 * (2 * alpha + 1))
    assert share.shape == (20000,)
    assert share.mean() == pytest.approx(0.5, abs=5 * (variance / 20000) ** 0.5)
    assert share.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("alpha", [1e-3, 1e3])
def test_shares_of_extreme_alphas_are_shares(alpha):
    x = torch.zeros(2000, 1, 1, 1)
    _, share = Mixup(alpha=alpha).mix(x, x, Draws(3, torch.arange(2000)))
    assert ((share >= 0) & (share <= 1)).all()
    near = (share - 0.5).abs() < 0.1
    assert near.all() if alpha > 1 else near.double().mean() < 0.02


def test_mixup_mixes_each_picture_by_its_own_share_in_any_batch():
    x, other, place = some(8), some(8, seed=1), torch.arange(8)
    mixed, share = Mixup(alpha=0.4).mix(x, other, Draws(5, place))
    assert len(share.unique()) == 8
    for i in range(8):
        torch.testing.assert_close(mixed[i], share[i] * x[i] + (1 - share[i]) * other[i])
        alone, own = Mixup(alpha=0.4).mix(x[i : i + 1], other[i : i + 1], Draws(5, place[i : i + 1]))
        assert own == share[i]
        torch.testing.assert_close(alone[0], mixed[i])
    assert Mixup().mix(x.float(), other.float(), Draws(5, place))[1].dtype == torch.float32


def test_the_share_is_that_of_the_first_label_in_both_forms_of_the_loss():
    x = torch.zeros(1, 3, 2, 2)
    logits = torch.tensor([[3.0, 0.0]])
    _, share = Mixup().mix(x, x + 1, fixed(x, 0.9))
    assert share.item() == pytest.approx(0.9)
    for form in ("source", "usual"):
        right, wrong = (Mixup(form=form).loss(logits, *map(torch.tensor, y), share) for y in (([0], [1]), ([1], [0])))
        assert right < wrong
    source, usual = (
        Mixup(form=form).loss(logits, torch.tensor([0]), torch.tensor([1]), share) for form in ("source", "usual")
    )
    p = logits.softmax(1)[0]
    torch.testing.assert_close(source, -(0.9 * p[0] + 0.1 * p[1]).log()[None])
    torch.testing.assert_close(usual, -(0.9 * p[0].log() + 0.1 * p[1].log())[None])


def test_mixup_refuses_pictures_of_another_shape():
    with pytest.raises(OptionError, match="mixup: other has shape"):
        Mixup().mix(some(3), some(2), Draws(0, torch.arange(3)))


# --- the base operations of AugMix


def photographs(seed=0, size=(31, 23)):
    """Pictures (6, 3, H, W) int64 of 256 levels: noise, slopes, few levels, one level, mostly one level, dark."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (3, *size))
    slope = np.broadcast_to(np.linspace(10, 200, size[0] * size[1]).reshape(size).astype(int), (3, *size))
    few = rng.choice([3, 90, 91, 250], (3, *size))
    flat = np.full((3, *size), 77)
    mostly = np.where(rng.random((3, *size)) < 0.9, 200, rng.integers(0, 200, (3, *size)))
    return torch.tensor(np.stack([noise, slope, few, flat, mostly, noise // 4]))


def operated(name, amount, levels, dtype=torch.float64):
    """One operation on all pictures."""
    x = levels.to(dtype) / 255
    kind = torch.full((len(x),), OPERATIONS.index(name))
    return operate(x, torch.ones(len(x), dtype=torch.bool), kind, torch.full((len(x),), float(amount)).double())


def by_pillow(change, levels):
    pictures = [Image.fromarray(one.permute(1, 2, 0).numpy().astype(np.uint8)) for one in levels]
    return torch.tensor(np.stack([np.asarray(change(one)) for one in pictures])).permute(0, 3, 1, 2).long()


POINTWISE = [
    ("autocontrast", 0, ImageOps.autocontrast),
    ("equalize", 0, ImageOps.equalize),
    *[("posterize", bits, lambda picture, bits=bits: ImageOps.posterize(picture, bits)) for bits in (1, 3, 4, 8)],
    *[("solarize", at, lambda picture, at=at: ImageOps.solarize(picture, at)) for at in (0, 1, 128, 200, 256)],
]


@pytest.mark.parametrize(("name", "amount", "theirs"), POINTWISE, ids=[f"{n}-{a}" for n, a, _ in POINTWISE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_operations_on_levels_are_those_of_pillow(name, amount, theirs, dtype):
    for size in ((31, 23), (6, 5), (64, 64)):
        levels = photographs(size=size)
        found = operated(name, amount, levels, dtype) * 255
        torch.testing.assert_close(found, by_pillow(theirs, levels).to(dtype), rtol=0, atol=1e-4)


def affine(*coefficients):
    return lambda picture: picture.transform(
        picture.size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR
    )


MOTIONS = [
    ("rotate", 9, lambda picture: picture.rotate(9, resample=Image.Resampling.BILINEAR)),
    ("rotate", -6, lambda picture: picture.rotate(-6, resample=Image.Resampling.BILINEAR)),
    ("shear-x", 0.09, affine(1, 0.09, 0, 0, 1, 0)),
    ("shear-y", -0.07, affine(1, 0, 0, -0.07, 1, 0)),
    ("translate-x", 3, affine(1, 0, 3, 0, 1, 0)),
    ("translate-y", -2, affine(1, 0, 0, 0, 1, -2)),
]


@pytest.mark.parametrize(("name", "amount", "theirs"), MOTIONS, ids=[f"{n}-{a}" for n, a, _ in MOTIONS])
def test_motions_are_those_of_pillow_away_from_the_edge(name, amount, theirs):
    levels = photographs()
    found, expected = operated(name, amount, levels) * 255, by_pillow(theirs, levels).double()
    # At the very edge Pillow repeats half a pixel where ours fades to zero; where both are zero is outside.
    inside = operated(name, amount, torch.full_like(levels, 255)) > 1 - 1e-9
    assert inside.double().mean() > 0.75
    assert (found - expected)[inside].abs().max() <= 1.01
    if name.startswith("translate"):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_amounts_at_the_ends_of_the_scale():
    kind = torch.arange(9)
    least, most = (amounts(kind, torch.full((9,), level), torch.ones(9) > 0, 32, 48).tolist() for level in (0.1, 10))
    assert least == pytest.approx([0, 0, 4, 254, 0, 0.003, 0.003, 0, 0])
    assert most == pytest.approx([0, 0, 0, 0, 30, 0.3, 0.3, 16, 10])
    other = amounts(kind, torch.full((9,), 10.0), torch.zeros(9) > 0, 32, 48).tolist()
    assert other == pytest.approx([0, 0, 0, 0, -30, -0.3, -0.3, -16, -10])


def test_only_the_chosen_rows_are_operated_on():
    x = some(18, height=8, width=8)
    rows, kind = torch.arange(18) % 2 == 0, torch.arange(18) % 9
    found = operate(x.clone(), rows, kind, amounts(kind, torch.full((18,), 9.0), rows, 8, 8))
    assert torch.equal(found[~rows], x[~rows])
    assert (found != x)[rows].flatten(1).any(1).all()
    for i in range(0, 18, 2):
        alone = operate(
            x[i : i + 1].clone(),
            rows[:1],
            kind[i : i + 1],
            amounts(kind, torch.full((18,), 9.0), rows, 8, 8)[i : i + 1],
        )
        torch.testing.assert_close(alone[0], found[i])


def test_augmix_leaves_what_no_operation_changes():
    x = torch.zeros(40, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(changed(AugMix(), x), x, rtol=0, atol=0)


@pytest.mark.parametrize(("chains", "mean", "square"), [([1, 1, 1], 1 / 2, 1 / 3), ([0, 1, 0], 1 / 6, 1 / 18)])
def test_chains_have_dirichlet_weights_and_the_picture_a_uniform_share(monkeypatch, chains, mean, square):
    x = torch.zeros(8000, 1, 1, 1, dtype=torch.float64)
    made = torch.tensor(chains).double().repeat(8000).view(-1, 1, 1, 1)
    monkeypatch.setattr("holdfast.augment.augmix.operate", lambda x, rows, kind, amount: made)
    found = changed(AugMix(), x).flatten()
    assert found.mean() == pytest.approx(mean, rel=0.04)
    assert found.square().mean() == pytest.approx(square, rel=0.06)


def test_augmix_uses_every_operation_and_every_length(monkeypatch):
    seen = []

    def watched(x, rows, kind, amount):
        seen.append((rows.clone(), kind.clone()))
        return operate(x, rows, kind, amount)

    monkeypatch.setattr("holdfast.augment.augmix.operate", watched)
    changed(AugMix(), some(600, 1, 4, 4))
    assert len(seen) == 3
    assert [rows.double().mean().item() for rows, _ in seen] == pytest.approx([1, 2 / 3, 1 / 3], abs=0.06)
    kinds = torch.cat([kind for _, kind in seen]).bincount(minlength=9) / (3 * 1800)
    assert kinds.tolist() == pytest.approx([1 / 9] * 9, abs=0.02)


# --- options and inputs


WRONG = [
    (Crop, {"pad": -1}, "pad=-1"),
    (Crop, {"pad": True}, "pad=True"),
    (Crop, {"border": "wrap"}, "border='wrap'; allowed: one of zeros, reflect"),
    (Mirror, {"chance": 1.1}, "chance=1.1"),
    (Rotate, {"degrees": 181}, "degrees=181"),
    (Rotate, {"degrees": float("nan")}, "degrees=nan"),
    (Scale, {"factor": (1.2, 0.8)}, "the smaller one first"),
    (Scale, {"factor": (0.0, 1.0)}, "factor="),
    (Scale, {"factor": 1.0}, "factor=1.0"),
    (Brightness, {"amount": 2}, "amount=2"),
    (Contrast, {"amount": -0.1}, "amount=-0.1"),
    (Colour, {"hue": 0.6}, "hue=0.6"),
    (Colour, {"saturation": 1.5}, "saturation=1.5"),
    (Blur, {"deviation": (0.0, 1.0)}, "deviation="),
    (Blur, {"chance": -1}, "chance=-1"),
    (Noise, {"deviation": 2}, "deviation=2"),
    (Cutout, {"side": 0}, "side=0"),
    (Cutout, {"squares": -1}, "squares=-1"),
    (AugMix, {"width": 0}, "width=0"),
    (AugMix, {"depth": (3, 1)}, r"depth=\(3, 1\)"),
    (AugMix, {"depth": (1, 2.5)}, r"depth=\(1, 2.5\)"),
    (AugMix, {"severity": 11}, "severity=11"),
    (Mixup, {"alpha": 0}, "alpha=0"),
    (Mixup, {"form": "other"}, "form='other'"),
]


@pytest.mark.parametrize(("kind", "options", "says"), WRONG)
def test_wrong_options_are_refused_with_value_and_mend(kind, options, says):
    with pytest.raises(OptionError, match=f"{kind.__name__}: .*{says}"):
        kind(**options)
    with pytest.raises(OptionError, match="allowed: "):
        kind(**options)


def test_build_reads_text_and_values_and_names_what_is_near():
    assert build("crop", {"pad": "2", "border": "reflect"}) == Crop(pad=2, border="reflect")
    assert build("scale", {"factor": [0.5, 1.5]}) == Scale(factor=(0.5, 1.5))
    with pytest.raises(OptionError, match=r"unknown augmentation 'cutuot'.*'cutout'"):
        build("cutuot")
    with pytest.raises(OptionError, match="unknown option of Cutout"):
        build("cutout", {"length": "8"})


def test_inputs_that_are_no_pictures_are_refused():
    place = torch.arange(2)
    with pytest.raises(OptionError, match="x has shape"):
        augmented(torch.zeros(2, 5, 5), [], seed=0, place=place)
    with pytest.raises(OptionError, match="Divide 8-bit pictures by 255"):
        augmented(torch.zeros(2, 3, 5, 5, dtype=torch.uint8), [], seed=0, place=place)
    with pytest.raises(OptionError, match="place has shape"):
        augmented(torch.zeros(3, 3, 5, 5), [], seed=0, place=place)
    with pytest.raises(OptionError, match="masks have shape"):
        augmented(torch.zeros(2, 3, 5, 5), [], seed=0, place=place, masks=torch.zeros(2, 5, 4))

"""Corruptions beside the same ones written a second time, picture by picture, after the published definition."""

import zlib

import numpy as np
import pytest
import torch
from scipy import ndimage

from corruption_oracles import ORACLES, TABLES, glass_blur, psnr, ssim
from holdfast.corrupt import CORRUPTIONS, build, corrupted
from holdfast.corrupt.fields import between, normal, uniform
from holdfast.corrupt.frost_texture import SIDE, textures
from holdfast.draws import Draws

DETERMINISTIC = ("defocus-blur", "zoom-blur", "gaussian-blur", "brightness", "contrast", "pixelate", "jpeg", "saturate")
RANDOM = tuple(name for name in ORACLES if name not in DETERMINISTIC)
SEVERITIES = range(1, 6)
# How far the mean over PICTURES pictures of ours may be from the oracle's, each measured to the clean picture; besides,
# ERRORS standard errors of the difference, as both draw other numbers.
DECIBELS, SIMILARITY, ERRORS, PICTURES = 0.15, 0.01, 4, 40


def pictures(count, height=32, width=32, seed=0):
    """uint8 (count, H, W, 3): soft colours, a rectangle with sharp edges, black, white and grey among them."""
    rng = np.random.RandomState(seed)
    soft = ndimage.gaussian_filter(rng.uniform(size=(count, height, width, 3)), (0, 2, 2, 0.7))
    x = np.uint8(255 * np.clip(soft * 3 - 1, 0, 1))
    for one in x:
        top, left = rng.randint(2, height // 2), rng.randint(2, width // 2)
        one[top : top + height // 3, left : left + width // 3] = rng.randint(0, 256, 3)
        one[:3, :3], one[:3, 3:6], one[3:5, :3] = 0, 255, 77
    return x


def as_tensor(x, dtype=torch.float64):
    return torch.from_numpy(x).permute(0, 3, 1, 2).to(dtype) / 255


def as_arrays(x):
    return x.permute(0, 2, 3, 1).double().numpy()


def ours(x, name, severity, table, seed=3):
    made = corrupted(as_tensor(x), name, severity, seed=seed, place=torch.arange(len(x)), table=table)
    return as_arrays(made)


def draws_of(name, severity, count, seed=3):
    return Draws(seed, torch.arange(count), attack=zlib.crc32(f"{name} {severity}".encode()))


class Replay:
    """Gives an oracle the numbers that ours drew for one picture, one array after the other."""

    def __init__(self, *arrays):
        self.arrays = list(arrays)

    def normal(self, size, loc=0.0, scale=1.0):
        return self.arrays.pop(0).reshape(size) * scale + loc

    def uniform(self, low=0.0, high=1.0, size=None):
        drawn = self.arrays.pop(0)
        return drawn.reshape(size) if size is not None else drawn.item()


def replayed(name, strength, draws, height, width):
    """For each picture the keyword arguments and the numbers that its oracle needs."""
    numbers = []
    if name in ("gaussian-noise", "speckle-noise"):
        numbers = [normal(draws, 3, height, width).permute(0, 2, 3, 1)]
    elif name == "motion-blur":
        numbers = [between(draws, -45, 45, 1)]
    elif name == "snow":
        numbers = [normal(draws, 1, height, width), between(draws, -135, -45, 1, stream=1)]
    elif name == "spatter":
        numbers = [normal(draws, 1, height, width)]
    return [Replay(*(each[row].double().numpy() for each in numbers)) for row in range(len(draws.picture))]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ORACLES)
def test_the_tables_are_the_published_ones(name, table):
    found = getattr(CORRUPTIONS[name].levels, table)
    expected = TABLES[table][name]
    for mine, theirs in zip(found, expected, strict=True):
        mine, theirs = np.atleast_1d(mine), np.atleast_1d(theirs)
        assert mine[: len(theirs)] == pytest.approx(theirs)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_without_chance_pixels_are_the_same(name, table):
    for x in (pictures(3), pictures(2, 40, 26, seed=1)):
        for severity in SEVERITIES:
            found = ours(x, name, severity, table)
            for one, picture in zip(found, x):
                expected = ORACLES[name](picture, TABLES[table][name][severity - 1], None)
                np.testing.assert_allclose(one, expected, atol=1e-6)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["gaussian-noise", "speckle-noise", "motion-blur", "snow", "spatter"])
def test_by_the_same_numbers_pixels_are_the_same(name, table):
    x = pictures(3, 32, 32)
    for severity in SEVERITIES:
        strength = TABLES[table][name][severity - 1]
        streams = replayed(name, strength, draws_of(name, severity, len(x)), 32, 32)
        found = ours(x, name, severity, table)
        for one, picture, stream in zip(found, x, streams):
            apart = np.abs(one - ORACLES[name](picture, strength, stream))
            # Where a float32 rounds a value to another 8-bit level than a float64: few, and by a level or the next.
            assert (apart > 1e-5).mean() < 0.02
            assert apart.mean() < 2e-4


class InTurn:
    """Gives the oracle of fog what ours drew for each point, in the oracle's order."""

    def __init__(self, field):
        side, step, order = len(field), len(field), []
        while step >= 2:
            half = step // 2
            for top, left in ((half, half), (0, half), (half, 0)):
                order += [(y, x) for y in range(top, side, step) for x in range(left, side, step)]
            step = half
        self.drawn = iter([float(field[place]) for place in order])

    def uniform(self, low, high):
        return low + (high - low) * next(self.drawn)


@pytest.mark.parametrize("table", TABLES)
def test_by_the_same_numbers_fog_is_the_same(table):
    x = pictures(1, 20, 30) // 2  # its largest value stays the largest
    for severity in SEVERITIES:
        field = uniform(draws_of("fog", severity, 1), 32, 32)[0].double()
        expected = ORACLES["fog"](x[0], TABLES[table]["fog"][severity - 1], InTurn(field))
        np.testing.assert_allclose(ours(x, "fog", severity, table)[0], expected, atol=1e-9)


@pytest.mark.parametrize("swap", [False, True], ids=["copy", "swap"])
@pytest.mark.parametrize("table", TABLES)
def test_pixels_meet_their_neighbours_in_the_published_order(table, swap):
    x = pictures(2, 24, 19)
    for severity in SEVERITIES:
        strength = TABLES[table]["glass-blur"][severity - 1]
        _, most, rounds = strength
        places = torch.empty(len(x), rounds, 2, 24 - 2 * most, 19 - 2 * most)
        steps = (draws_of("glass-blur", severity, len(x)).integers(places, 2 * most) - most).numpy()
        record = build("glass-blur", {"shuffle": "swap" if swap else "copy"})
        for one, picture, step in zip(ours(x, record, severity, table), x, steps):
            expected = glass_blur(picture, strength, None, steps=step, swap=swap)
            np.testing.assert_allclose(one, expected, atol=1.1 / 255)
            assert np.abs(one - expected).mean() < 1e-4


@pytest.mark.parametrize("table", TABLES)
def test_places_of_an_elastic_picture_are_the_same(table):
    x = pictures(2, 30, 37)
    for severity in SEVERITIES:
        strength, draws = TABLES[table]["elastic"][severity - 1], draws_of("elastic", severity, len(x))
        moves = (uniform(draws, 3, 2).double() * 2 - 1).numpy() * strength[2] * 30
        noise = (uniform(draws, 2, 30, 37, stream=1).double() * 2 - 1).numpy()[:, ::-1]  # theirs: to the right first
        for one, picture, move, field in zip(ours(x, "elastic", severity, table), x, moves, noise):
            expected = ORACLES["elastic"](picture, strength, None, moves=move, noise=field)
            assert np.abs(one - expected).mean() < 1e-5


@pytest.mark.parametrize("table", TABLES)
def test_frost_is_a_part_of_a_texture(table):
    x = np.zeros((4, 16, 20, 3), np.uint8)
    for severity in SEVERITIES:
        _, added = TABLES[table]["frost"][severity - 1]
        reduced = 5 if table == "small" else 1
        which, top, at = (
            uniform(draws_of("frost", severity, 4), 3).double() * torch.tensor([5, *[SIDE // reduced] * 2])
        ).T.long()
        for one, a, b, c in zip(ours(x, "frost", severity, table), which.tolist(), top.tolist(), at.tolist()):
            ice = as_arrays(textures(reduced, coloured=True)[a][None].roll((-b, -c), (2, 3)))[0, :16, :20]
            np.testing.assert_allclose(one, np.clip(added * ice, 0, 1), atol=1e-6)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", RANDOM)
def test_by_other_numbers_pictures_are_as_far_from_clean(name, table):
    x = pictures(PICTURES)
    clean = x / 255.0
    reduced = 5 if table == "small" else 1
    ice = as_arrays((textures(reduced, coloured=True) * 255).round()).astype(np.uint8)
    more = {"ice": ice} if name == "frost" else {}
    for severity in SEVERITIES:
        rng = np.random.RandomState(severity)
        strength = TABLES[table][name][severity - 1]
        theirs = [ORACLES[name](picture, strength, rng, **more) for picture in x]
        found = ours(x, name, severity, table)
        for measure, band in ((psnr, DECIBELS), (ssim, SIMILARITY)):
            apart = [measure(a, c) - measure(b, c) for a, b, c in zip(found, theirs, clean)]
            error = np.std(apart, ddof=1) / len(apart) ** 0.5
            assert abs(np.mean(apart)) < band + ERRORS * error, (measure.__name__, severity, np.mean(apart), error)

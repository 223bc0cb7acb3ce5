"""Draws: the right distributions, independent where keys differ, and equal bits wherever they agree."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from holdfast import draws as module
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import join, take

N, D = 100, 1000  # 1e5 numbers
KINDS = ["uniform", "normal", "exponential"]
kinds = pytest.mark.parametrize("kind", KINDS)


def draws(n=N, seed=11):
    return Draws(seed, torch.arange(n))


def like(n=N, *shape, dtype=torch.float64):
    return torch.empty(n, *(shape or (D,)), dtype=dtype)


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distribution(kind, dtype):
    numbers = getattr(draws(), kind)(like(dtype=dtype))
    assert numbers.dtype == dtype
    assert numbers.shape == (N, D)
    law = {"uniform": stats.uniform, "normal": stats.norm, "exponential": stats.expon}[kind]
    assert stats.kstest(numbers.double().flatten().numpy(), law.cdf).pvalue > 1e-3
    at = np.array([0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999])
    spread = np.sqrt(at * (1 - at) / (N * D)) / law.pdf(law.ppf(at))
    assert (np.abs(np.quantile(numbers.double().numpy(), at) - law.ppf(at)) < 5 * spread).all()


def test_every_bit_of_a_word_is_even_and_its_lanes_own():
    words = draws().bits(like())
    for place in range(64):
        ones = int((words >> place & 1).sum())
        assert abs(ones - N * D / 2) < 5 * math.sqrt(N * D) / 2
    assert torch.equal(words[40:60], Draws(11, torch.arange(40, 60)).bits(like(20)))
    assert not torch.equal(words, draws().bits(like(), stream=1))


@pytest.mark.parametrize("bins", [2, 64, 1000])
@pytest.mark.parametrize("lowest", [False, True])
def test_bits_are_even(bins, lowest):
    """Top bits and bottom bits of the 53 fall evenly into bins, within lanes and across them."""
    numbers = draws().uniform(like())
    if lowest:
        numbers = (numbers * 2**33) % 1
    counts = np.bincount((numbers.flatten() * bins).long().numpy(), minlength=bins)
    assert stats.chisquare(counts).pvalue > 1e-3
    across = draws(N * D).uniform(like(N * D, 1))
    assert stats.chisquare(np.bincount((across.flatten() * bins).long().numpy(), minlength=bins)).pvalue > 1e-3


@pytest.mark.parametrize("high", [1, 2, 10, 1000, 2**32])
def test_integers(high):
    numbers = draws().integers(like(dtype=torch.float32), high)
    assert numbers.dtype == torch.int64
    assert numbers.min() >= 0
    assert numbers.max() < high
    if 1 < high <= 1000:
        assert stats.chisquare(np.bincount(numbers.flatten().numpy(), minlength=high)).pvalue > 1e-3
    if high == 2**32:
        assert numbers.max() > 0.99 * high


def variants():
    """Draws that differ from the first in one part of the key, and a second stream."""
    zero, one = torch.zeros(N, dtype=torch.int64), torch.ones(N, dtype=torch.int64)
    base = draws()
    return {
        "base": base.uniform(like()),
        "seed": draws(seed=12).uniform(like()),
        "seed, high bits": draws(seed=11 + 2**40).uniform(like()),
        "negative seed": draws(seed=-11).uniform(like()),
        "picture": Draws(11, torch.arange(N) + N).uniform(like()),
        "attack": Draws(11, torch.arange(N), attack=1).uniform(like()),
        "restart": Draws(11, torch.arange(N), restart=one).uniform(like()),
        "target": Draws(11, torch.arange(N), target=one).uniform(like()),
        "round": base.at(1).uniform(like()),
        "stream": base.uniform(like(), stream=1),
        "all zero": Draws(0, zero).uniform(like()),
    }


def test_every_part_of_the_key_matters_and_nothing_correlates():
    made = list(variants().values())
    correlation = np.corrcoef(np.stack([m.flatten().numpy() for m in made]))
    off_diagonal = correlation[~np.eye(len(made), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / math.sqrt(N * D)
    for i, first in enumerate(made):
        assert all((first != second).double().mean() > 0.999 for second in made[i + 1 :])


def test_neighbours_do_not_correlate():
    """Element against next element, lane against next lane, round against next round."""
    numbers = draws().normal(like())
    rounds = torch.stack([draws(10).at(r).normal(like(10)).flatten() for r in range(10)])
    for a, b in [
        (numbers[:, :-1], numbers[:, 1:]),
        (numbers[:-1], numbers[1:]),
        (rounds[:-1], rounds[1:]),
        (numbers[:, : D // 2], numbers[:, D // 2 :]),
    ]:
        assert abs(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1]) < 5 / math.sqrt(a.numel())


def test_an_all_zero_key_is_no_fixed_point():
    zero = Draws(0, torch.zeros(1, dtype=torch.int64)).uniform(like(1, 8))
    assert len(set(zero.flatten().tolist())) == 8
    assert zero.min() > 0


def test_parts_are_not_interchangeable():
    """The key is a sequence, not a set or a sum: 1 for the restart is not 1 for the target, nor seed 1 picture 1."""
    assert not (Draws(0, torch.arange(N)).uniform(like()) == Draws(1, torch.arange(N) ^ 1).uniform(like())).any()
    assert not (Draws(0, torch.arange(N) + 1).uniform(like()) == Draws(1, torch.arange(N)).uniform(like())).any()
    one = torch.ones(N, dtype=torch.int64)
    made = [Draws(11, torch.arange(N), **{part: one}).uniform(like()) for part in ("restart", "target", "round")]
    assert not any((a == b).any() for i, a in enumerate(made) for b in made[i + 1 :])


@kinds
@settings(deadline=None, max_examples=10)
@given(data=st.data(), d=st.sampled_from([1, 2, 3, 7, 8, 9, 31, 33]), n=st.integers(1, 9))
def test_any_split_gives_the_same_bits(kind, data, d, n):
    """Lanes in any order and grouping, and elements one by one against vector units and their tails."""
    whole = getattr(draws(n), kind)(like(n, d))
    order = torch.tensor(data.draw(st.permutations(range(n))))
    cut = data.draw(st.integers(0, n))
    for lanes in (order[:cut], order[cut:]):
        assert torch.equal(getattr(take(draws(n), lanes), kind)(like(len(lanes), d)), whole[lanes])
    for lane in range(n):
        for size in range(1, d + 1):
            alone = getattr(take(draws(n), torch.tensor([lane])), kind)(like(1, size))
            assert torch.equal(alone[0], whole[lane, :size])


@kinds
def test_one_by_one_through_plain_python(kind):
    """The vectorised numbers equal, bit for bit, those of a hash in Python's own integers."""
    word = 2**64 - 1

    def mix(z):
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & word
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & word
        return z ^ (z >> 31)

    def uniform(picture, element, stream, half=0):
        key = 0
        for part in (11, picture, 2, 3, 4, 5, stream, half):
            key = mix((key ^ part) + 0x9E3779B97F4A7C15 & word)
        return (mix(key + (element + 1) * 0x9E3779B97F4A7C15 & word) >> 11) * 2.0**-53

    lanes = [torch.full((5,), value) for value in (3, 4, 5)]
    made = getattr(Draws(11, torch.arange(5) + 7, 2, *lanes), kind)(like(5, 13), stream=6)
    for lane in range(5):
        for element in range(13):
            u = uniform(lane + 7, element, 6)
            v = uniform(lane + 7, element, 6, half=1)
            want = {
                "uniform": u,
                "exponential": -math.log1p(-u),
                "normal": math.sqrt(-2 * math.log1p(-u)) * math.cos(2 * math.pi * v),
            }[kind]
            got = made[lane, element].item()
            assert got == want if kind == "uniform" else abs(got - want) < 1e-14 * max(1, abs(want))


@kinds
def test_layout_of_like_does_not_matter(kind):
    whole = getattr(draws(6), kind)(like(6, 3, 5, 7))
    assert torch.equal(getattr(draws(6), kind)(like(6, 105)).view(6, 3, 5, 7), whole)
    strided = like(7, 5, 3, 6).permute(3, 2, 1, 0)
    assert torch.equal(getattr(draws(6), kind)(strided), getattr(draws(6), kind)(like(6, 3, 5, 7)))
    channels_last = like(6, 3, 5, 7).to(memory_format=torch.channels_last)
    assert torch.equal(getattr(draws(6), kind)(channels_last), whole)


@kinds
def test_float32_agrees_with_float64(kind):
    single, double = (getattr(draws(), kind)(like(dtype=t)) for t in (torch.float32, torch.float64))
    tolerance = 2.0**-24 if kind == "uniform" else 0
    assert ((single.double() - double).abs() <= tolerance + 2.0**-24 * double.abs()).all()
    assert single.max() < 1 or kind != "uniform"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_uniform_stays_below_one(dtype):
    numbers = draws().uniform(like(dtype=dtype))
    assert numbers.min() >= 0
    assert numbers.max() < 1


def test_thread_count_does_not_matter():
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            made.append(draws().normal(like()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)


def test_logarithm():
    u = torch.cat(
        [
            draws().uniform(like(N, 100)).flatten().clamp_min(2.0**-53),
            1 - 2.0 ** -torch.arange(1, 54, dtype=torch.float64),
            2.0 ** -torch.arange(0, 54, dtype=torch.float64),
            torch.tensor([math.sqrt(0.5), 0.5], dtype=torch.float64).nextafter(torch.zeros(2, dtype=torch.float64)),
        ]
    )
    want = np.array([math.log(value) for value in u.tolist()])
    np.testing.assert_allclose(module._log(u).numpy(), want, rtol=5e-16, atol=0)
    assert module._log(torch.ones(1, dtype=torch.float64)).item() == 0


def test_cosine():
    eighths = torch.arange(9, dtype=torch.float64) / 8
    v = torch.cat([draws().uniform(like(N, 100)).flatten(), eighths, (eighths + 1e-16).clamp_max(1)])
    turn = [math.cos, lambda a: -math.sin(a), lambda a: -math.cos(a), math.sin]
    nearest = [round(4 * value) for value in v.tolist()]  # in quarters: an angle near 2 pi itself has too few bits
    want = [turn[q % 4](2 * math.pi * (value - q / 4)) for q, value in zip(nearest, v.tolist())]
    np.testing.assert_allclose(module._cos_of_turn(v).numpy(), want, rtol=0, atol=3e-16)
    exact = module._cos_of_turn(eighths[::2])
    assert exact.tolist() == [1, 0, -1, 0, 1]


def test_lanes_join_and_take():
    first, second = draws(3), Draws(11, torch.arange(3, 5), round=torch.tensor([1, 2]))
    both = join([first, second])
    made = both.uniform(like(5, 4))
    assert torch.equal(made[:3], first.uniform(like(3, 4)))
    assert torch.equal(made[3:], second.uniform(like(2, 4)))
    assert torch.equal(
        draws(3).at(torch.tensor([0, 1, 2])).uniform(like(3, 4))[1], draws(3).at(1).uniform(like(3, 4))[1]
    )


def test_empty_and_scalar_lanes():
    assert draws(0).normal(like(0, 3, 4)).shape == (0, 3, 4)
    assert draws(4).uniform(torch.empty(4)).shape == (4,)
    assert torch.equal(draws(4).uniform(torch.empty(4, 1))[:, 0], draws(4).uniform(torch.empty(4)))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    draws(4).normal(like(4, 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_wrong_arguments_say_how_to_mend_them():
    with pytest.raises(OptionError, match=r"dtype torch.float32; allowed: \(N,\) int64"):
        Draws(0, torch.zeros(3))
    with pytest.raises(OptionError, match=r"like has shape \(4, 2\) but there are 3 lanes"):
        draws(3).uniform(like(4, 2))
    for high in (0, 2**32 + 1):
        with pytest.raises(OptionError, match=rf"high={high}; allowed: 1 <= high <= 2\*\*32"):
            draws(3).integers(like(3, 2), high)


@pytest.mark.gpu
@kinds
def test_gpu_gives_the_same_bits(kind):
    cuda = Draws(11, torch.arange(N, device="cuda"))
    for dtype in (torch.float32, torch.float64):
        on_gpu = getattr(cuda, kind)(torch.empty(N, D, dtype=dtype, device="cuda"))
        assert torch.equal(on_gpu.cpu(), getattr(draws(), kind)(like(dtype=dtype)))


def test_signs_are_fair_independent_and_keyed():
    draws = Draws(5, torch.arange(200))
    signs = draws.signs(torch.zeros(200, 3, 7, 9))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    values = signs.flatten(1)
    assert abs(float(values.mean())) < 4 / values.numel() ** 0.5
    alike = values.T @ values / len(values)  # (d, d) correlations
    assert (alike - torch.eye(len(alike))).abs().max() < 6 / len(values) ** 0.5
    some = Draws(5, torch.tensor([17, 3])).signs(torch.zeros(2, 3, 7, 9))
    assert torch.equal(some, signs[[17, 3]])
    assert not torch.equal(draws.signs(torch.zeros(200, 3, 7, 9), stream=1), signs)
    assert draws.signs(torch.zeros(200, 64)).shape == (200, 64)

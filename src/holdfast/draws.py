"""Noise that belongs to a picture: the same numbers in any batch, on any device.

Every number is a hash of its key (seed, picture, attack, restart, target, round, stream, element). Nothing is
remembered between calls, so lanes may be dropped, merged or split over processes without changing a bit.
The hash works on int64, where torch wraps alike everywhere; logarithm and cosine are built below from
+ - * / sqrt and frexp alone, because those round alike everywhere and the library's own functions do not.
"""

import math
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from holdfast.errors import OptionError

__all__ = ["Draws"]


def _signed(word: int) -> int:
    """The int64 that has the low 64 bits of `word`."""
    return (word + 2**63) % 2**64 - 2**63


_GOLDEN = _signed(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: steps of it visit every word once
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift(word: Tensor, by: int) -> Tensor:
    """Shift right and fill with zeros: torch fills int64 with the sign."""
    mask: int = 2 ** (64 - by) - 1
    return (word >> by).bitwise_and_(mask)


def _mix(word: Tensor) -> Tensor:
    """Scramble int64 words one to one: the output function of SplitMix64.

    Source: Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195, on SplitMix; constants: D. Stafford's mix 13.
    """
    word = _shift(word, 30).bitwise_xor_(word).mul_(_FIRST)
    word = _shift(word, 27).bitwise_xor_(word).mul_(_SECOND)
    return _shift(word, 31).bitwise_xor_(word)


@dataclass(frozen=True)
class Draws:
    """Random numbers keyed by seed, picture, attack, restart, target and round; a tree of lane tensors.

    `seed`: any int, taken modulo 2^64. `picture` (N,) int64: place of each lane's picture in the full split.
    `attack`: number of the attack within a suite. `restart`, `target`, `round`: (N,) int64, zeros when not given.

    Every method takes `like` first, a floating tensor (N, ...) with N lanes, and answers with its shape, dtype
    and device. `stream` tells apart several tensors drawn under one key; equal keys and streams give equal
    numbers. Element j of a lane does not depend on N, on the other lanes or on how many elements follow it.
    Cost: no model call; float64 arithmetic for `normal` and `exponential`, so a device without it cannot run them.

    >>> import torch
    >>> draws = Draws(seed=7, picture=torch.arange(4))
    >>> bool((draws.uniform(torch.zeros(4, 3))[2:] == Draws(7, torch.tensor([2, 3])).uniform(torch.zeros(2, 3))).all())
    True
    """

    seed: int
    picture: Tensor
    attack: int = 0
    restart: Tensor | None = None
    target: Tensor | None = None
    round: Tensor | None = None
    key: Tensor | None = field(default=None, repr=False)  # (N,) int64, the hash of all but the round; made here

    def __post_init__(self) -> None:
        """Check the lanes and fill in zeros, so that any two records can be joined."""
        if self.picture.ndim != 1 or self.picture.dtype != torch.int64:
            raise OptionError(
                f"Draws: picture has shape {tuple(self.picture.shape)} and dtype {self.picture.dtype}; "
                "allowed: (N,) int64, one place a lane. Pass torch.arange(len(x))."
            )
        for name in ("restart", "target", "round"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, torch.zeros_like(self.picture))
        if self.key is None:
            lanes = (self.picture, self.attack, self.restart, self.target)
            key = _hashed(torch.zeros_like(self.picture), _signed(self.seed), *lanes)
            object.__setattr__(self, "key", key)

    def at(self, round: Tensor | int) -> "Draws":
        """The same lanes in another round: (N,) int64, or one number for all."""
        if isinstance(round, int):
            round = torch.full_like(self.picture, round)
        return replace(self, round=round)

    def uniform(self, like: Tensor, stream: int = 0) -> Tensor:
        """Uniform on the multiples of 2^-p in [0, 1), p the dtype's bits (53 for float64, 24 for float32).

        The float32 number is the float64 one cut to 24 bits, never rounded up to 1.
        """
        bits = _precision(like.dtype)
        return _shift(self._words(like, stream), 64 - bits).to(like.dtype) * 2.0**-bits

    def exponential(self, like: Tensor, stream: int = 0) -> Tensor:
        """Exponential with mean 1, in [0, 36.8): -log(1 - u), computed in float64 and then rounded."""
        return (-_log(1 - self._uniform64(like, stream))).to(like.dtype)

    def normal(self, like: Tensor, stream: int = 0) -> Tensor:
        """Standard normal, at most 8.6 in size, by the cosine half of Box & Muller; in float64, then rounded."""
        radius = (-2 * _log(1 - self._uniform64(like, stream))).sqrt()
        return (radius * _cos_of_turn(self._uniform64(like, stream, half=1))).to(like.dtype)

    def signs(self, like: Tensor, stream: int = 0) -> Tensor:
        """-1 or 1, each as likely: the bits of as few words as hold them, so far cheaper than the others."""
        values = math.prod(like.shape[1:])
        words = self._words(like.new_empty(len(like), -(-values // 64)), stream)
        bits = (words[:, :, None] >> torch.arange(64, device=like.device)).bitwise_and_(1)
        return bits.flatten(1)[:, :values].to(like.dtype).mul_(2).sub_(1).view(like.shape)

    def integers(self, like: Tensor, high: int, stream: int = 0) -> Tensor:
        """Whole numbers 0 to `high` - 1, int64 in the shape of `like`; some are likelier by at most high/2^63.

        Raises: `OptionError` unless 1 <= high <= 2^32.
        """
        if not 1 <= high <= 2**32:
            raise OptionError(
                f"Draws.integers: high={high!r}; allowed: 1 <= high <= 2**32. The largest number drawn is high - 1."
            )
        return _shift(self._words(like, stream), 1) % high

    def bits(self, like: Tensor, stream: int = 0) -> Tensor:
        """64 random bits an element, int64 of either sign: what the others are made of, for who wants fewer bits."""
        return self._words(like, stream)

    def _uniform64(self, like: Tensor, stream: int, half: int = 0) -> Tensor:
        return _shift(self._words(like, stream, half), 11).to(torch.float64) * 2.0**-53

    def _words(self, like: Tensor, stream: int, half: int = 0) -> Tensor:
        """One scrambled word an element; `half` 1 is a second word under the same key."""
        if like.shape[:1] != self.picture.shape:
            raise OptionError(
                f"Draws: like has shape {tuple(like.shape)} but there are {len(self.picture)} lanes; "
                "allowed: (N, ...) with N the number of lanes. Take the same lanes of both."
            )
        key = _hashed(self.key, self.round, stream, half)
        steps = torch.arange(1, math.prod(like.shape[1:]) + 1, device=like.device) * _GOLDEN
        return _mix(key.to(like.device)[:, None] + steps).view(like.shape)


def _hashed(key: Tensor | None, *parts: Tensor | int | None) -> Tensor:
    """`key` (N,) with more parts, each a number or one a lane."""
    for part in parts:
        # Scrambled between any two parts, else seed 1 with picture 0 would be seed 0 with picture 1.
        # The constant keeps an all-zero key off the hash's fixed point at zero.
        key = _mix((cast(Tensor, key) ^ cast(Tensor | int, part)) + _GOLDEN)
    return cast(Tensor, key)


def _precision(dtype: torch.dtype) -> int:
    """Bits of the significand, the hidden one included: 53 for float64, 24 for float32."""
    return 2 - math.frexp(torch.finfo(dtype).eps)[1]


# log 2 in two parts: the first has so few bits that its product with an exponent is exact.
_LOG_2_HIGH = 0.69314718036912381649
_LOG_2_LOW = 1.9082149292705877e-10


def _polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """Sum of coefficients[k] x^k by Horner's rule, each product and each sum rounded by itself."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _log(u: Tensor) -> Tensor:
    """Natural logarithm of positive float64, right to 4e-16 of its size.

    With u = m 2^e, m in [sqrt(1/2), sqrt(2)) and s = (m-1)/(m+1): log u = e log 2 + 2 (s + s^3/3 + s^5/5 + ...).
    """
    m, e = torch.frexp(u)
    low = m < math.sqrt(0.5)
    m, e = torch.where(low, 2 * m, m), (e - low.to(e.dtype)).to(u.dtype)
    s = (m - 1) / (m + 1)
    series = 2 * s * _polynomial(s * s, [1 / (2 * k + 1) for k in range(11)])
    return e * _LOG_2_HIGH + (series + e * _LOG_2_LOW)


def _cos_of_turn(v: Tensor) -> Tensor:
    """cos(2 pi v) of float64 v in [0, 1], right to 3e-16: Taylor series within an eighth of a turn of an axis."""
    quarter = (4 * v).round()
    angle = 2 * math.pi * (v - quarter / 4)
    square = angle * angle
    cos = _polynomial(square, [(-1) ** k / math.factorial(2 * k) for k in range(10)])
    sin = _polynomial(square, [(-1) ** k / math.factorial(2 * k + 1) for k in range(9)]) * angle
    size = torch.where(quarter % 2 == 0, cos, sin)
    return torch.where((quarter == 1) | (quarter == 2), -size, size)

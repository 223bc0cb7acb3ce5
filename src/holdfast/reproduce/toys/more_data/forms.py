"""The Gaussian model and its closed forms: errors of given weights, and those to be expected in high dimensions."""

import math
from dataclasses import dataclass

from torch import Tensor

from holdfast.errors import OptionError
from holdfast.options import option

MOST = 100_000  # samples


@dataclass(frozen=True, kw_only=True)
class MoreData:
    """Labels of +-1, inputs N(y theta, sigma^2 I) with ||theta|| = sqrt(d) and sigma = c d^(1/4); theta is all ones.

    The classifier is the sign of <w, x> with w the mean of y x over n samples.
    Source: Schmidt et al. 2018, arXiv:1804.11285, the Gaussian model; theorems for eps up to 1/4, the forms for any.
    """

    dimensions: tuple[int, ...] = option((1600, 6400, 25600, 102400), "where the samples needed are counted")
    c: float = option(0.6, "noise, in units of d^(1/4)")
    eps: float = option(0.5, "radius in Linf; an input's mean is 1")
    sets: int = option(30, "training sets, of whose errors the median counts")
    counted: int = option(1600, "the dimension where errors are counted")
    samples: tuple[int, ...] = option((1, 2, 4, 8, 16, 32, 64), "training samples there")
    tests: int = option(4000, "test inputs there")

    def __post_init__(self) -> None:
        if not (0 < self.eps < 1 and self.c > 0 and min(self.dimensions) >= 100 and len(self.dimensions) >= 2):
            raise OptionError(
                f"{self!r}: allowed: 0 < eps < 1, c > 0, two dimensions or more, each >= 100. Leave them as they are."
            )

    def sigma(self, d: int) -> float:
        """The noise of each coordinate."""
        return self.c * math.sqrt(math.sqrt(d))


def standard_error(w: Tensor, theta: Tensor, sigma: float) -> float:
    """P(y <w, x> < 0) for x ~ N(y theta, sigma^2 I)."""
    return below(float(w @ theta) / (sigma * float(w.norm())))


def robust_error(w: Tensor, theta: Tensor, sigma: float, eps: float) -> float:
    """P(y <w, x + delta> < 0 for some delta of size eps in Linf): the margin loses eps ||w||_1."""
    return below((float(w @ theta) - eps * float(w.abs().sum())) / (sigma * float(w.norm())))


def below(margin: float) -> float:
    """Phi(-margin), right far out too."""
    return 0.5 * math.erfc(margin / math.sqrt(2))


def expected_margin(d: int, n: float, c: float, eps: float) -> float:
    """The robust margin for large d, where norms and products of w = theta + s g, s = sigma / sqrt(n), are their means.

    <w, theta> = d, ||w||^2 = d (1 + s^2), and ||w||_1 = d E|1 + s z| with z standard normal (a folded normal).
    """
    sigma = c * math.sqrt(math.sqrt(d))
    s = sigma / math.sqrt(n)
    folded = s * math.sqrt(2 / math.pi) * math.exp(-1 / (2 * s * s)) + 1 - 2 * below(1 / s)
    return (1 - eps * folded) * math.sqrt(d) / (sigma * math.sqrt(1 + s * s))


def expected_need(d: int, level: float, c: float, eps: float) -> float:
    """The n, not rounded, at which Phi(-expected margin) is `level`; inf where no n is enough."""
    low, high = 1e-3, float(MOST)
    if below(expected_margin(d, high, c, eps)) > level:
        return math.inf
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if below(expected_margin(d, middle, c, eps)) < level else (middle, high)
    return high


def quantile(level: float) -> float:
    """The margin m with Phi(-m) = level."""
    from scipy.stats import norm

    return float(norm.isf(level))

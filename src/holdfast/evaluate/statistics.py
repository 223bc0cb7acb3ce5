"""A rate is two whole numbers, k of n; the interval comes with it."""

from bisect import bisect_left
from dataclasses import dataclass

from holdfast.errors import DataError

CONFIDENCE = 0.95  # of every interval that holdfast states
MOST = 10_000_000  # pictures that anybody might evaluate


@dataclass(frozen=True)
class Rate:
    """k of n pictures, with the exact two-sided 95 % interval of Clopper and Pearson for the share behind it.

    Args: `k` how many, 0 <= k <= n; `n` of how many, at least 1. Raises: `DataError` for anything else, an empty
    set having no rate. Cost: no model call. Source: Clopper & Pearson 1934, Biometrika 26(4), by quantiles of the
    beta distribution; it covers the truth at least 95 % of the time, also at k = 0 and k = n.

    >>> Rate(0, 10).high < 0.31
    True
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.k <= self.n:
            raise DataError(
                f"a rate of k={self.k!r} out of n={self.n!r}; allowed: n >= 1 and 0 <= k <= n. "
                "Give at least one picture."
            )

    @property
    def rate(self) -> float:
        """k / n."""
        return self.k / self.n

    @property
    def low(self) -> float:
        """The lower end of the interval; 0 for k = 0."""
        return _quantile((1 - CONFIDENCE) / 2, self.k, self.n - self.k + 1) if self.k else 0.0

    @property
    def high(self) -> float:
        """The upper end of the interval; 1 for k = n."""
        return _quantile((1 + CONFIDENCE) / 2, self.k + 1, self.n - self.k) if self.k < self.n else 1.0

    def to_plain(self) -> dict[str, int | float]:
        """For JSON: k, n, rate, low, high."""
        return {"k": self.k, "n": self.n, "rate": self.rate, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.k} of {self.n} ({100 * self.rate:.1f} %)"


def fewest(n: int, low: float) -> int | None:
    """The fewest of `n` pictures whose interval begins at `low` or above; None when that of all `n` begins below.

    >>> fewest(100, 0.45), fewest(10, 0.9)
    (56, None)
    """
    k = bisect_left(range(n + 1), low, key=lambda k: Rate(k, n).low)
    return k if k <= n else None


def pictures_to_show(rate: Rate, low: float) -> int | None:
    """About how many pictures put the lower end of the interval at `low`, when the share of `rate` holds among them.

    None when no number up to ten million does, as where the share is `low` itself or less.

    >>> pictures_to_show(Rate(10, 10), 0.9)
    36
    """
    n = 1 + bisect_left(range(1, MOST + 1), low, key=lambda n: Rate(n * rate.k // rate.n, n).low)
    return n if n <= MOST else None


def excess(more: int, less: int) -> float:
    """How probable it is that a fair coin falls at least `more` times one way in `more + less` throws.

    The one-sided sign test on pictures that two runs judge differently: small when `more` outweighs `less` by more
    than chance explains. 1.0 when no picture differs.
    """
    from scipy.stats import binom

    return float(binom.sf(more - 1, more + less, 0.5)) if more + less else 1.0


def _quantile(level: float, a: int, b: int) -> float:
    # Imported when used: importing holdfast must not load SciPy.
    from scipy.stats import beta

    return float(beta.ppf(level, a, b))

"""Temperature scaling: one number for all."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.models.maps import Temper
from holdfast.options import option
from holdfast.uncertainty.checks import check

HALVINGS = 200  # of the interval at most; Newton's steps end it after a dozen
NEAR = 1e-12  # relative, where two temperatures are one


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Divide all logits by the temperature T that has the least negative log-likelihood.

    Logits b z with b = 1/T have a convex one, with slope mean(sum_k p_k z_k - z_y) and curvature mean(Var_p z). Its
    zero is found by Newton's steps, and by halving an interval wherever those would leave it. Where all pictures are
    right the likelihood grows for ever as T falls, and where the labels go against the logits as T grows: it then ends
    at `least` or `most`. The prediction never changes.
    Source: Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    Raises: `OptionError` unless 0 < least < most.
    """

    least: float = option(0.05, "smallest temperature")
    most: float = option(20.0, "largest temperature")
    name: ClassVar[str] = "temperature"

    def __post_init__(self) -> None:
        if not 0 < self.least < self.most:
            raise OptionError(
                f"Temperature: least={self.least!r}, most={self.most!r}; allowed: 0 < least < most, such as 0.05, 20."
            )

    def fit(self, logits: Tensor, labels: Tensor) -> Temper:
        """See `Recalibration.fit`; a class may be without pictures."""
        found, y = check(logits, labels)
        low, high = 1 / self.most, 1 / self.least
        if _slope(found, y, low)[0] >= 0:
            return Temper(self.most)
        if _slope(found, y, high)[0] <= 0:
            return Temper(self.least)
        return Temper(1 / _zero(found, y, low, high))


def _zero(logits: Tensor, y: Tensor, low: float, high: float) -> float:
    """Where the slope, below 0 at `low` and above it at `high`, is 0."""
    b = min(max(1.0, low), high)
    for _ in range(HALVINGS):
        slope, curvature = _slope(logits, y, b)
        low, high = (b, high) if slope < 0 else (low, b)
        step = b - slope / curvature if curvature > 0 else low
        if abs(step - b) <= NEAR * b or high - low <= NEAR * b:
            return b  # asked before the interval is: once b is the zero, it is an end of it too
        b = step if low < step < high else (low + high) / 2
    return b


def _slope(logits: Tensor, y: Tensor, b: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood of b z."""
    p = (b * logits).softmax(1)
    mean = (p * logits).sum(1)
    spread = (p * (logits - mean[:, None]).square()).sum(1)
    own = logits.gather(1, y[:, None]).squeeze(1)
    return float((mean - own).mean()), float(spread.mean())


def at_bound(record: Temperature, made: Temper) -> bool:
    """Whether the likelihood would have had it beyond the smallest or the largest temperature."""
    bounds = torch.tensor([record.least, record.most], dtype=torch.float64)
    return bool((made.temperature == bounds).any())

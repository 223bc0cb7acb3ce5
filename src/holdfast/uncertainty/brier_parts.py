"""The Brier score taken apart."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.uncertainty.bins import BINS, Bins, equal_width, table
from holdfast.uncertainty.checks import check


@dataclass(frozen=True)
class BrierParts:
    """brier = reliability - resolution + uncertainty + remainder, each summed over the classes.

    `reliability`: squared distance of what is said from what happens, 0 is best; `resolution`: how far apart what
    happens lies in different bins, more is better; `uncertainty`: of the labels alone; `remainder`: what differs
    within the bins.
    """

    reliability: float
    resolution: float
    uncertainty: float
    remainder: float

    @property
    def brier(self) -> float:
        """The score that they make up."""
        return self.reliability - self.resolution + self.uncertainty + self.remainder


def brier_parts(logits: Tensor, labels: Tensor, bins: int | None = BINS) -> BrierParts:
    """The Brier score of (N, K) logits as the parts of Murphy, class by class in bins of its probability, summed.

    Within bins of one width the forecasts differ, so the three parts alone do not add up to the score: the remainder
    is the mean over pictures of the variance within the bin less twice the covariance of forecast and outcome there.
    It is 0 where every bin holds a single forecast; `bins` None makes it so, with a bin for each distinct probability.
    Source: Murphy 1973, Journal of Applied Meteorology 12(4); the remainder: Stephenson, Coelho & Jolliffe 2008,
    Weather and Forecasting 23(4).
    Raises: as `uncertainty.check`. Cost: no model call.
    """
    found, y = check(logits, labels)
    p = found.softmax(1).clamp(0, 1)
    parts = torch.stack([_of_class(p[:, k], y == k, bins) for k in range(p.shape[1])]).sum(0)
    return BrierParts(*parts.tolist())


def _of_class(p: Tensor, hits: Tensor, bins: int | None) -> Tensor:
    """(4,) the parts for one class."""
    found = _each(p, hits) if bins is None else equal_width(p, hits, bins)
    said, seen, weight = found.confidence.nan_to_num(0), found.accuracy.nan_to_num(0), found.weight
    base = hits.double().mean()
    within = p - said[found.index]
    noise = within.square() - 2 * within * (hits.double() - seen[found.index])
    reliability = (weight * (said - seen).square()).sum()
    resolution = (weight * (seen - base).square()).sum()
    return torch.stack([reliability, resolution, base * (1 - base), noise.mean()])


def _each(p: Tensor, hits: Tensor) -> Bins:
    """A bin for every distinct value."""
    values = p.unique()
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return table(p, hits, torch.cat([ends, values]).unique())

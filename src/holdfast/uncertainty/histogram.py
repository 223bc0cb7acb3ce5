"""Histogram binning."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.models.maps import Stairs
from holdfast.options import option
from holdfast.uncertainty.bins import BINS
from holdfast.uncertainty.checks import check, check_classes, check_count
from holdfast.uncertainty.steps import Steps, cuts, stairs


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Say of each class's probability how often it was so in its bin, one class against all others, then renormalise.

    A bin without pictures says its middle. Predictions may change, and classes may tie: then the first is taken.
    Source: Zadrozny & Elkan 2001, ICML; to several classes as Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    Raises: `OptionError` for fewer than one bin.
    """

    bins: int = option(BINS, "bins a class")
    width: Literal["equal", "quantile"] = option("equal", "of one width, or with as many pictures each")
    name: ClassVar[str] = "histogram"

    def __post_init__(self) -> None:
        check_count("Histogram", "bins", self.bins)

    def fit(self, logits: Tensor, labels: Tensor) -> Stairs:
        """See `Recalibration.fit`."""
        found, y = check(logits, labels)
        check_classes(y, found.shape[1], self.name)
        p = found.softmax(1)
        return stairs([self._class(p[:, k].contiguous(), y == k) for k in range(p.shape[1])])

    def _class(self, p: Tensor, hits: Tensor) -> Steps:
        even = torch.arange(1, self.bins, dtype=torch.float64) / self.bins
        edges = even if self.width == "equal" else cuts(p.sort().values, self.bins)
        piece = torch.searchsorted(edges, p)
        count = piece.bincount(minlength=len(edges) + 1).double()
        right = piece.bincount(hits.double(), minlength=len(edges) + 1)
        ends = torch.cat([edges.new_zeros(1), edges, edges.new_ones(1)])
        return edges, torch.where(count > 0, right / count.clamp_min(1), (ends[1:] + ends[:-1]) / 2)

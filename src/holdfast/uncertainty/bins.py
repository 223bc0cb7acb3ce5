"""Bins of confidence: where each begins and ends, how many pictures it has, and how right it is."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.uncertainty.checks import check_count

BINS = 15  # as Guo et al. 2017 have it


@dataclass(frozen=True, eq=False)
class Bins:
    """Bin b holds the values in (edges[b], edges[b + 1]]; 0 belongs to the first, so that 1 is in the last one.

    A bin without pictures has NaN for confidence and accuracy.
    """

    edges: Tensor  # (B + 1,) float64, from 0 to 1
    count: Tensor  # (B,) int64
    confidence: Tensor  # (B,) float64, mean of the values
    accuracy: Tensor  # (B,) float64, share of hits
    index: Tensor  # (N,) int64, the bin of each value

    @property
    def gap(self) -> Tensor:
        """(B,) confidence less accuracy: above 0 too sure, below 0 not sure enough; 0 where no picture is."""
        return (self.confidence - self.accuracy).nan_to_num(0.0)

    @property
    def weight(self) -> Tensor:
        """(B,) share of the pictures."""
        return self.count.double() / self.count.sum()

    def to_plain(self) -> list[dict[str, Any]]:
        """For JSON, a bin after the other; None where there is no picture."""
        rows = zip(self.edges[:-1].tolist(), self.edges[1:].tolist(), self.count.tolist(), strict=True)
        means = zip(self.confidence.tolist(), self.accuracy.tolist(), strict=True)
        return [
            {"low": low, "high": high, "n": n, "confidence": c if n else None, "accuracy": a if n else None}
            for (low, high, n), (c, a) in zip(rows, means, strict=True)
        ]


def equal_width(values: Tensor, hits: Tensor, bins: int = BINS) -> Bins:
    """`bins` bins of one width.

    Args: `values` (N,) float64 in [0, 1]; `hits` (N,) bool, whether what was said with that confidence is so.
    Raises: `OptionError` for fewer than one bin. Cost: no model call.
    """
    check_count("bins", "bins", bins)
    return table(values, hits, torch.arange(bins + 1, dtype=torch.float64) / bins)


def equal_mass(values: Tensor, hits: Tensor, bins: int = BINS) -> Bins:
    """At most `bins` bins with as many pictures each, to within one; equal values share a bin, so there may be fewer.

    The edges are values themselves, so the order of the pictures does not matter. Arguments as in `equal_width`.
    """
    check_count("bins", "bins", bins)
    n = len(values)
    last = torch.tensor([-(-n * b // bins) for b in range(1, bins)], dtype=torch.int64)
    inner = values.sort().values[last[last < n] - 1].unique()
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return table(values, hits, torch.cat([ends, inner[(inner > 0) & (inner < 1)]]).sort().values)


def table(values: Tensor, hits: Tensor, edges: Tensor) -> Bins:
    """The bins between given edges (B + 1,), ascending from 0 to 1."""
    index = torch.searchsorted(edges[1:-1].contiguous(), values.contiguous())  # how many inner edges lie below
    size = len(edges) - 1
    count = index.bincount(minlength=size)
    sums = torch.zeros(2, size, dtype=torch.float64).index_add_(1, index, torch.stack([values, hits.double()]))
    confidence, accuracy = sums / torch.where(count > 0, count.double(), torch.nan)
    return Bins(edges, count, confidence, accuracy, index)

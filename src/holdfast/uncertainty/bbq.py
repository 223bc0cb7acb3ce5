"""Bayesian binning into quantiles."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.models.maps import Stairs
from holdfast.options import option
from holdfast.uncertainty.checks import check, check_classes
from holdfast.uncertainty.steps import Steps, cuts, stairs


@dataclass(frozen=True, kw_only=True)
class BBQ:
    """Average histogram binnings of many sizes, each weighed by how probable it makes the labels, then renormalise.

    The binnings have from N^(1/3) / `spread` to `spread` N^(1/3) bins with as many pictures each. A bin's rate has a
    beta prior with the bin's middle m as its mean: a = w m and b = w (1 - m) with w = `prior` / B for B bins. All
    binnings are as likely beforehand, and the likelihood of one is the product over its bins of
    G(w) / G(w + n) * G(a + h) / G(a) * G(b + n - h) / G(b), with h hits among n pictures and G the gamma function.
    What a bin says is the mean of its rate given the pictures, (a + h) / (w + n).
    Predictions may change, and classes may tie: then the first is taken.
    Source: Naeini, Cooper & Hauskrecht 2015, AAAI ("Obtaining well calibrated probabilities using Bayesian binning");
    to several classes as Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    Raises: `OptionError` for a spread below 1, or a prior that is not positive.
    """

    spread: float = option(10.0, "bins of the smallest and largest binning, as a factor on N^(1/3)")
    prior: float = option(2.0, "pictures that the prior is worth, over all bins")
    name: ClassVar[str] = "bbq"

    def __post_init__(self) -> None:
        if not self.spread >= 1:
            raise OptionError(f"BBQ: spread={self.spread!r}; allowed: numbers >= 1, such as 10.")
        if not self.prior > 0:
            raise OptionError(f"BBQ: prior={self.prior!r}; allowed: numbers > 0, such as 2.")

    def fit(self, logits: Tensor, labels: Tensor) -> Stairs:
        """See `Recalibration.fit`."""
        found, y = check(logits, labels)
        check_classes(y, found.shape[1], self.name)
        p = found.softmax(1)
        return stairs([self._class(p[:, k].contiguous(), y == k) for k in range(p.shape[1])])

    def sizes(self, n: int) -> range:
        """The numbers of bins for n pictures."""
        root = n ** (1 / 3)
        return range(max(1, int(root / self.spread)), max(1, min(n, int(root * self.spread))) + 1)

    def binnings(self, p: Tensor, hits: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Edges, values and log-likelihood of each binning of one class, by the number of bins."""
        order = p.argsort(stable=True)
        ordered = p[order]
        summed = torch.cat([p.new_zeros(1), hits[order].double().cumsum(0)])
        for bins in self.sizes(len(p)):
            edges = cuts(ordered, bins)
            ends = torch.cat([edges.new_zeros(1), edges, edges.new_ones(1)])
            until = torch.searchsorted(ordered, edges, right=True)
            rows = torch.cat([until.new_zeros(1), until, until.new_tensor([len(p)])])
            n, h = rows.diff().double(), summed[rows].diff()
            w, middle = self.prior / len(n), (ends[1:] + ends[:-1]) / 2
            a, b = w * middle, w * (1 - middle)
            yield edges, (a + h) / (w + n), _likelihood(n, h, a, b)

    def _class(self, p: Tensor, hits: Tensor) -> Steps:
        """The weighted sum of all binnings, itself a step function over the edges of all."""
        every = list(self.binnings(p, hits))
        weights = torch.tensor([one[2] for one in every], dtype=torch.float64).softmax(0)
        edges = torch.cat([one[0] for one in every]).unique()
        inside = torch.cat([edges, edges.new_ones(1)])  # the right end of each piece, which belongs to it
        values = edges.new_zeros(len(inside))
        for (own, said, _), weight in zip(every, weights, strict=True):
            values += weight * said[torch.searchsorted(own, inside)]
        return edges, values


def _likelihood(n: Tensor, h: Tensor, a: Tensor, b: Tensor) -> float:
    """The logarithm of the product above."""
    total = (a + b).lgamma() - (a + b + n).lgamma()
    return float((total + (a + h).lgamma() - a.lgamma() + (b + n - h).lgamma() - b.lgamma()).sum())

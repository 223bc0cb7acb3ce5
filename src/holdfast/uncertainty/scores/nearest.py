"""The distance of the features to the k-th nearest training picture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.options import option
from holdfast.uncertainty.scores.checks import whole
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head, check_enough

AT_ONCE = 4096  # training pictures compared at a time


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The distance to the `k`-th nearest training picture, by features scaled to length 1: in [0, 2].

    Exact: every training picture is compared, in blocks.
    Cost: one pass over the training pictures; memory for their features in float32 (4 N D bytes) and a block.
    Source: Sun et al. 2022, arXiv:2204.06507; `k` of 50 is theirs for CIFAR-10 with all training pictures.
    """

    k: int = option(50, "which neighbour counts")
    name: ClassVar[str] = "nearest"
    needs: ClassVar[str] = "features"

    def __post_init__(self) -> None:
        """Refuse what is no neighbour."""
        whole(self, "k", least=1)

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """The features of all pictures. Raises: `DataError` for fewer than k."""
        rows = [unit(batch.features.detach().cpu()) for batch in batches]
        check_enough(f"{self.name} with k={self.k}", sum(map(len, rows)), self.k)
        return Neighbours(torch.cat(rows), self.k)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The distance to the k-th nearest of the kept rows."""

    rows: Tensor  # (N, D) float32, of length 1
    k: int

    def __call__(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        asked = unit(batch.features.cpu())
        best = asked.new_empty(asked.shape[0], 0)
        for block in self.rows.split(AT_ONCE):
            joined = torch.cat([best, asked @ block.T], 1)
            best = joined.topk(min(self.k, joined.shape[1]), dim=1).values
        square = (2 - 2 * best[:, self.k - 1].double()).clamp_min(0)
        # The root's slope at 0 is infinite, and NaN as soon as it is multiplied by 0.
        return torch.where(square > 0, square, 1).sqrt() * (square > 0)


def unit(rows: Tensor) -> Tensor:
    """Rows (n, D) scaled to length 1, in float32; rows of zeros stay zeros."""
    return torch.nn.functional.normalize(rows.float(), dim=1)

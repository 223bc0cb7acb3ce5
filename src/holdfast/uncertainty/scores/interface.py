"""What every score of suspicion works on, and what one is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from holdfast.errors import DataError, ModelError


@dataclass(frozen=True)
class Head:
    """The last linear layer of a model: logits are `weight` times features plus `bias`."""

    name: str  # of the module
    weight: Tensor  # (K, D) float64
    bias: Tensor  # (K,) float64, zeros where the layer has none


@dataclass(frozen=True)
class Batch:
    """What a model says of n pictures, and what its last layer was given."""

    logits: Tensor  # (n, K)
    features: Tensor  # (n, D), the input of the last linear layer; (n, 0) where no score asked for it
    labels: Tensor  # (n,) int64; -1 where they are not known
    members: Tensor  # (M, n, K) logits of the members; (0, n, K) where there are none

    def __len__(self) -> int:
        return len(self.logits)


Fitted = Callable[[Batch], Tensor]
"""A batch to its scores (n,) float64, the larger the more suspicious."""


class Score(Protocol):
    """A frozen record of options; `fit` looks at clean training pictures as far as it needs any."""

    name: ClassVar[str]
    needs: ClassVar[str]  # "logits", "features", or "members": an ensemble

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """How suspicious pictures are, by what `batches` of clean training pictures are like.

        `batches` may be gone through several times, in one order. Raises: `DataError` for too few pictures.
        """
        ...


def needed(head: Head | None, name: str, batches: Iterable[Batch]) -> Head:
    """The head, for a score that computes with its weights. Raises: `ModelError` where these do not make the logits."""
    assert head is not None, f"{name} without a head"
    first = next(iter(batches), None)
    if first is not None and first.logits.shape[1] != len(head.weight):
        raise ModelError(
            f"{name}: layer {head.name!r} gives {len(head.weight)} values, the model {first.logits.shape[1]} logits; "
            "allowed: the layer that gives the logits. Name that one, or take mahalanobis or nearest."
        )
    return head


class Moments:
    """Number, mean and scatter of rows for each group, batch by batch, in float64.

    Batches are joined by their own means and scatters, never by raw sums of squares, whose difference would lose the
    digits. Memory: one (groups, D) and one (D, D) tensor, however many rows there are.
    Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
    """

    def __init__(self, groups: int, width: int) -> None:
        self.counts = torch.zeros(groups, dtype=torch.float64)
        self.means = torch.zeros(groups, width, dtype=torch.float64)
        self.scatter = torch.zeros(width, width, dtype=torch.float64)  # of all groups about their own means

    def see(self, rows: Tensor, group: Tensor) -> None:
        """Take in rows (n, D) of groups (n,) int64."""
        rows, group = rows.double().cpu(), group.cpu()
        fresh = torch.zeros_like(self.counts).index_add_(0, group, torch.ones(len(group), dtype=torch.float64))
        sums = torch.zeros_like(self.means).index_add_(0, group, rows)
        means = sums / fresh.clamp_min(1)[:, None]
        apart = rows - means[group]
        total = self.counts + fresh
        gap = torch.where(fresh[:, None] > 0, means - self.means, 0)
        self.scatter += apart.T @ apart + (gap * (self.counts * fresh / total.clamp_min(1))[:, None]).T @ gap
        self.means += gap * (fresh / total.clamp_min(1))[:, None]
        self.counts = total


def check_enough(name: str, found: int, least: int) -> None:
    """Raises: `DataError` for fewer training pictures than a score can be fitted on."""
    if found < least:
        raise DataError(f"{name}: fitted on {found} pictures; allowed: {least} or more. Give more training pictures.")

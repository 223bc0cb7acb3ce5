"""The Mahalanobis distance of the features to the nearest class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import DataError
from holdfast.options import option
from holdfast.uncertainty.scores.checks import positive
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head, Moments, check_enough


@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """The squared Mahalanobis distance of the features to the nearest class mean, with one covariance for all classes.

    Features are taken to be Gaussian in each class. Directions in which the training pictures hardly vary (less than
    `least` of the largest variance, as where units are dead) are left out: the inverse is a pseudo-inverse.
    Cost: one pass over the training pictures; memory for K + D rows of D float64 numbers, however many they are.
    Source: Lee et al. 2018, arXiv:1807.03888, sec. 2.1, on the last layer alone, without its shift of the picture.
    """

    least: float = option(1e-8, "variances below this share of the largest count as none")
    name: ClassVar[str] = "mahalanobis"
    needs: ClassVar[str] = "features"

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        positive(self, "least")

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Class means and the shared covariance. Raises: `DataError` for a class without pictures, or all alike."""
        moments: Moments | None = None
        for batch in batches:
            moments = moments or Moments(batch.logits.shape[1], batch.features.shape[1])
            moments.see(batch.features, batch.labels)
        seen, classes = (0, 0) if moments is None else (int(moments.counts.sum()), len(moments.counts))
        check_enough(self.name, seen, classes + 1)
        assert moments is not None  # there are enough
        empty = (moments.counts == 0).nonzero().flatten().tolist()
        if empty:
            raise DataError(
                f"mahalanobis: no training picture of class {', '.join(map(str, empty))}; allowed: at least one of "
                "each. Give more training pictures."
            )
        variances, directions = torch.linalg.eigh(moments.scatter / moments.counts.sum())
        kept = variances > self.least * variances[-1]
        if not bool(kept.any()):
            raise DataError("mahalanobis: the features of all training pictures of a class are alike; nothing to fit.")
        whiten = directions[:, kept] / variances[kept].sqrt()
        return Distances(moments.means @ whiten, whiten)


@dataclass(frozen=True, eq=False)
class Distances:
    """Squared distances to the nearest of the whitened means."""

    means: Tensor  # (K, r) float64
    whiten: Tensor  # (D, r) float64

    def __call__(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        rows = batch.features.double().cpu() @ self.whiten
        # Differences first: the expanded square would lose the digits of pictures near a mean.
        return torch.cdist(rows, self.means, compute_mode="donot_use_mm_for_euclid_dist").square().amin(1)

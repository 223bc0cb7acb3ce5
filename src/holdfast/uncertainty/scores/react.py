"""The free energy of logits from features that are cut at what is usual in training."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from holdfast.options import option, refused
from holdfast.uncertainty.scores.energy import free_energy
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head, check_enough, needed


@dataclass(frozen=True, kw_only=True)
class ReAct:
    """The free energy of the logits that the last layer gives for features cut from above.

    They are cut at the `share` quantile of all features of the training pictures, whichever unit they are of.
    Cost: one pass over the training pictures; memory for their features twice (8 N D bytes).
    Source: Sun, Guo & Li 2021, arXiv:2111.12797, with the energy of Liu et al. 2020.
    """

    share: float = option(0.9, "of the training pictures' features that are not cut")
    name: ClassVar[str] = "react"
    needs: ClassVar[str] = "features"

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 < self.share <= 1:
            raise refused(self, "share", "0 < share <= 1", "The source takes share=0.9.")

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Where features are cut. Raises: `DataError` for no picture."""
        head = needed(head, self.name, batches)
        parts = [batch.features.detach().float().cpu().flatten().numpy() for batch in batches]
        check_enough(self.name, len(parts), 1)
        cut = float(np.quantile(np.concatenate(parts), self.share, overwrite_input=True))
        return Rectified(head, cut)


@dataclass(frozen=True, eq=False)
class Rectified:
    """The free energy with features cut at `cut`."""

    head: Head
    cut: float

    def __call__(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        features = batch.features.double().cpu().clamp_max(self.cut)
        return free_energy(features @ self.head.weight.T + self.head.bias)

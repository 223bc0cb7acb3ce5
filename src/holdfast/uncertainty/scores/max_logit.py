"""How small the largest logit is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.uncertainty.scores.interface import Batch, Fitted, Head


@dataclass(frozen=True, kw_only=True)
class MaxLogit:
    """Minus the largest logit.

    Of an ensemble, whose logits are log-probabilities, it orders as `max-probability` does.
    Source: Hendrycks et al. 2022, arXiv:1911.11132.
    """

    name: ClassVar[str] = "max-logit"
    needs: ClassVar[str] = "logits"

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Nothing is learnt."""
        return self.score

    def score(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        return -batch.logits.double().amax(1)

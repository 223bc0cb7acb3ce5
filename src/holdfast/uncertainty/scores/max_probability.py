"""How far the largest probability is from 1."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.uncertainty.scores.interface import Batch, Fitted, Head


@dataclass(frozen=True, kw_only=True)
class MaxProbability:
    """One minus the largest softmax probability: in [0, 1 - 1/K].

    Computed as the sum of all the others, so that it does not round to 0 where a model is sure.
    Source: Hendrycks & Gimpel 2017, arXiv:1610.02136.
    """

    name: ClassVar[str] = "max-probability"
    needs: ClassVar[str] = "logits"

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Nothing is learnt."""
        return self.score

    def score(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        probabilities = batch.logits.double().softmax(1)
        largest = probabilities.argmax(1, keepdim=True)
        return probabilities.scatter(1, largest, 0.0).sum(1)

"""The entropy of the predicted probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.uncertainty.disagreement import entropy
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """The entropy of the softmax probabilities, in nats: in [0, log K].

    Of an ensemble that is the predictive entropy, of the mean of the members.
    Source: Shannon's; as a score of unfamiliar pictures cf. Lakshminarayanan et al. 2017, arXiv:1612.01474.
    """

    name: ClassVar[str] = "entropy"
    needs: ClassVar[str] = "logits"

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Nothing is learnt."""
        return self.score

    def score(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        return entropy(batch.logits.double())

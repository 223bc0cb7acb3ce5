"""All that the measures need of each picture, without its logits: four numbers, however many classes there are."""

from dataclasses import dataclass

from torch import Tensor

from holdfast.uncertainty.checks import check
from holdfast.uncertainty.measures import confidence, distances, surprises


@dataclass(frozen=True, eq=False)
class Answered:
    """What a model said of N pictures, held against their labels."""

    confidence: Tensor  # (N,) float64 in [0, 1], the largest probability
    right: Tensor  # (N,) bool, whether that class is the label
    surprise: Tensor  # (N,) float64, -log p of the label, in nats
    distance: Tensor  # (N,) float64 in [0, 2], squared, of the probabilities from the label

    def __len__(self) -> int:
        return len(self.right)


def answered(logits: Tensor, labels: Tensor) -> Answered:
    """From logits (N, K) and labels (N,) int64. Raises: as `uncertainty.check`. Cost: no model call."""
    found, y = check(logits, labels)
    said, right = confidence(found, y)
    return Answered(said, right, surprises(found, y), distances(found, y))

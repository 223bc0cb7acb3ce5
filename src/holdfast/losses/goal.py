"""What an attack wants of each picture, and whether an output gives it."""

from dataclasses import dataclass

from torch import Tensor

from holdfast.errors import OptionError
from holdfast.losses.formulas import margin

__all__ = ["Goal"]


@dataclass(frozen=True)
class Goal:
    """Leave the label (untargeted), or reach a chosen class (targeted); a tree of lane tensors.

    `y` (N,) int64: the true labels. `target` (N,) int64: the class to reach, or None. `confidence`: by how many logit
    units it must be in front (the kappa of Carlini & Wagner 2017, arXiv:1608.04644).
    Raises: `OptionError` when the shapes differ or are not (N,). Class numbers are checked where K is known.
    """

    y: Tensor
    target: Tensor | None = None
    confidence: float = 0.0

    def __post_init__(self) -> None:
        """Check shapes once; values are not looked at, which would wait for the device."""
        if self.y.ndim != 1 or (self.target is not None and self.target.shape != self.y.shape):
            target = "None" if self.target is None else f"shape {tuple(self.target.shape)}"
            raise OptionError(
                f"Goal: y has shape {tuple(self.y.shape)}, target {target}; "
                "allowed: (N,) class numbers, one a picture, for both. Flatten or repeat them."
            )

    @property
    def targeted(self) -> bool:
        """Whether a class is to be reached rather than the label left."""
        return self.target is not None

    def reached(self, logits: Tensor, prediction: Tensor | None = None) -> Tensor:
        """Which rows of `logits` (N, K) fulfil the goal, (N,) bool.

        The prediction is the largest logit, the first of equal ones; giving it, (N,) int64, spares finding it again.
        A row with NaN or infinity never reaches.
        """
        if prediction is None:
            prediction = logits.argmax(1)
        there = prediction != self.y if self.target is None else prediction == self.target
        if self.confidence:
            lead = -margin(logits, self.y) if self.target is None else margin(logits, self.target)
            there = there & (lead >= self.confidence)
        # A number minus itself is 0, but NaN where it is not finite; asking each one would take three times as long.
        return there & ((logits - logits).sum(1) == 0)

"""The loss of a picture, from its logits and its label."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.losses.training import hinge
from holdfast.options import option
from holdfast.train.labels import Labels


class Loss(Protocol):
    """A frozen record of options: (logits (N, K), labels) to (N,)."""

    @property
    def name(self) -> str:
        """As recipes call it."""
        ...

    def __call__(self, logits: Tensor, labels: Labels) -> Tensor:
        """(N,), differentiable."""
        ...


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Minus the log of the label's probability, in nats.

    With `smoothing` s the label counts 1 - s and all K classes share s.
    Source: label smoothing: Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """

    smoothing: float = option(0.0, "share of the label that is spread over all classes")
    name: ClassVar[str] = "cross-entropy"

    def __post_init__(self) -> None:
        """Refuse what would put the label behind the others."""
        if not 0 <= self.smoothing < 1:
            raise OptionError(f"CrossEntropy: smoothing={self.smoothing!r}; allowed: 0 <= smoothing < 1.")

    def __call__(self, logits: Tensor, labels: Labels) -> Tensor:
        """(N,) of the labels."""
        return F.cross_entropy(logits, labels.y, reduction="none", label_smoothing=self.smoothing)


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """How far the label's logit is from being in front of every other by the margin, summed over the others.

    On a linear model, with lambda times the squares of its weights, the multi-class support vector machine: that term
    is weight_decay = 2 lambda in plain SGD, and decay="weights" leaves the biases out of it.
    Source: Weston & Watkins 1999, the multi-class support vector machine.
    """

    margin: float = option(1.0, "by how much the label's logit is to lead, in logit units")
    name: ClassVar[str] = "hinge"

    def __post_init__(self) -> None:
        """Refuse what a model without weights would satisfy."""
        if not (math.isfinite(self.margin) and self.margin > 0):
            raise OptionError(f"Hinge: margin={self.margin!r}; allowed: finite numbers > 0. Pass margin=1.")

    def __call__(self, logits: Tensor, labels: Labels) -> Tensor:
        """(N,) of the labels."""
        return hinge(logits, labels.y, self.margin)


LOSSES: dict[str, type[Loss]] = {"cross-entropy": CrossEntropy, "hinge": Hinge}

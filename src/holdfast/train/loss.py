"""The loss of a picture, from its logits and its label."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import OptionError
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


LOSSES: dict[str, type[Loss]] = {"cross-entropy": CrossEntropy}

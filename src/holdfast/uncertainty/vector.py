"""Vector scaling: a weight and a bias a class."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.models.maps import Affine
from holdfast.options import option
from holdfast.uncertainty.affine import check_penalty, fitted
from holdfast.uncertainty.checks import check, check_classes


@dataclass(frozen=True, kw_only=True)
class Vector:
    """Multiply the logit of each class by a weight of its own and add a bias, by the least negative log-likelihood.

    Predictions may change. Source: Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    Raises: `OptionError` for a negative penalty.
    """

    intercept: float = option(0.0, "penalty on the mean square of the biases")
    name: ClassVar[str] = "vector"

    def __post_init__(self) -> None:
        check_penalty("Vector", intercept=self.intercept)

    def fit(self, logits: Tensor, labels: Tensor) -> Affine:
        """See `Recalibration.fit`."""
        found, y = check(logits, labels)
        check_classes(y, found.shape[1], self.name)
        return fitted(found, y, full=False, intercept=self.intercept)

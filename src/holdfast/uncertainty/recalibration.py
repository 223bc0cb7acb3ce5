"""What every recalibration has in common."""

from typing import ClassVar, Protocol

from torch import Tensor

from holdfast.models.maps import Map


class Recalibration(Protocol):
    """A frozen record of options that fits a map from logits to logits on held-out pictures."""

    name: ClassVar[str]

    def fit(self, logits: Tensor, labels: Tensor) -> Map:
        """The map fitted on logits (N, K), floating, and labels (N,) int64.

        Raises: as `uncertainty.check`; `DataError` where a class without pictures leaves nothing to fit.
        """
        ...

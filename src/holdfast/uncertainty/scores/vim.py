"""A virtual logit of what the training pictures' features do not explain."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import DataError, OptionError
from holdfast.options import option
from holdfast.uncertainty.scores.checks import whole
from holdfast.uncertainty.scores.interface import Batch, Fitted, Head, Moments, check_enough, needed


@dataclass(frozen=True, kw_only=True)
class ViM:
    """A virtual logit, the length of the features outside the principal space, against the logits.

    The principal space are the `dimensions` directions of largest second moment about the point whose logits are all
    0 (in the sense of least squares). The virtual logit is scaled so that on training pictures its mean is that of the
    largest logit. The score is the virtual logit less log sum exp of the logits, which orders as the probability that
    softmax gives the virtual class.
    Cost: two passes over the training pictures' features; memory for D rows of D float64 numbers.
    Source: Wang et al. 2022, arXiv:2203.10807.
    """

    dimensions: int | None = option(None, "of the principal space; none: half of the features' width")
    name: ClassVar[str] = "vim"
    needs: ClassVar[str] = "features"

    def __post_init__(self) -> None:
        """Refuse what is no dimension."""
        if self.dimensions is not None:
            whole(self, "dimensions", least=1)

    def fit(self, head: Head | None, batches: Iterable[Batch]) -> Fitted:
        """Origin, residual space and scale. Raises: `OptionError` where no direction is left outside."""
        head = needed(head, self.name, batches)
        width = head.weight.shape[1]
        kept = max(1, width // 2) if self.dimensions is None else self.dimensions
        if kept >= width:
            raise OptionError(
                f"ViM: dimensions={kept} of features of width {width}; allowed: fewer than the width. Pass "
                f"dimensions={max(1, width // 2)}."
            )
        origin = -torch.linalg.pinv(head.weight) @ head.bias
        moments, seen = Moments(1, width), 0
        for batch in batches:
            moments.see(batch.features, torch.zeros(len(batch), dtype=torch.int64))
            seen += len(batch)
        check_enough(self.name, seen, 2)
        shift = moments.means[0] - origin
        _, directions = torch.linalg.eigh(moments.scatter + seen * torch.outer(shift, shift))
        outside = directions[:, : width - kept]  # ascending: those of the smallest second moment
        return VirtualLogit(origin, outside, self._scale(origin, outside, batches))

    def _scale(self, origin: Tensor, outside: Tensor, batches: Iterable[Batch]) -> float:
        logits = lengths = 0.0
        seen = 0
        for batch in batches:
            logits += float(batch.logits.double().amax(1).sum())
            lengths += float(residual(batch.features, origin, outside).sum())
            seen += len(batch)
        if not lengths > 1e-9 * seen:
            raise DataError(
                f"vim: fitted on {seen} pictures, which have nothing outside the principal space; allowed: "
                "others. Give more training pictures, or fewer dimensions."
            )
        return logits / lengths


@dataclass(frozen=True, eq=False)
class VirtualLogit:
    """The virtual logit against the logits."""

    origin: Tensor  # (D,)
    outside: Tensor  # (D, D - dimensions)
    scale: float

    def __call__(self, batch: Batch) -> Tensor:
        """(n,) float64."""
        virtual = self.scale * residual(batch.features, self.origin, self.outside)
        return virtual - batch.logits.double().cpu().logsumexp(1)


def residual(features: Tensor, origin: Tensor, outside: Tensor) -> Tensor:
    """The length (n,) of what of the features lies in the space `outside`, about `origin`."""
    length: Tensor = ((features.double().cpu() - origin) @ outside).norm(dim=1)
    return length

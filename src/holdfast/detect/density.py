"""How rare the features of a picture are among the training pictures of the class it is taken for."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.data import Pictures
from holdfast.detect.features import Remembering, check_classes, features, known_features, shuffled, squares
from holdfast.detect.interface import Progress
from holdfast.errors import DataError
from holdfast.models.guarded import Suspicion
from holdfast.options import option
from holdfast.uncertainty.reading import last_layer
from holdfast.uncertainty.scores.checks import positive, whole

BANDWIDTHS = 64  # tried


@dataclass(frozen=True, kw_only=True)
class Density:
    """Minus the logarithm of the kernel density of the last features, for the predicted class.

    The density is the mean, over the training pictures of that class, of Gaussians with standard deviation `bandwidth`
    in every direction; the source's sigma is that times the root of 2. `reference` pictures of each class are kept,
    drawn by the seed; the source keeps all. Only the density: the source joins it with the uncertainty of dropout,
    which is the detector `mutual-information` beside a model of Monte Carlo dropout.
    Without a `bandwidth`, of 64 the one under which the kept pictures are likeliest, each by the others of its class.
    The derivative of that likelihood says that the best one lies between the root mean square distance to the nearest
    and that to all others, both over the root of the number of features; the 64 are spread evenly, by their
    logarithm, between the two. Copies, whose distance is 0, do not count: with them no bandwidth would be too small.
    Cost: one forward pass a picture, and its distances to the kept pictures, in float64.
    Source: Feinman et al. 2017, arXiv:1703.00410, sec. 3; the rule for the bandwidth is ours.
    """

    bandwidth: float | None = option(None, "standard deviation of the kernel; none: the likeliest")
    reference: int = option(200, "the most training pictures kept of each class")
    layer: str | None = option(None, "the linear layer whose input is looked at; none: the one that gives the logits")
    name: ClassVar[str] = "density"

    def __post_init__(self) -> None:
        """Check the options."""
        if self.bandwidth is not None:
            positive(self, "bandwidth")
        whole(self, "reference", least=2)

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> Suspicion:
        """The features of some pictures of each class, and the bandwidth. Raises: `DataError` for a class with one."""
        kept = pictures.take(self.chosen(pictures, seed))
        found = self.outline(model, pictures.shape)
        check_classes(model, pictures)
        (rows,) = known_features(model, kept, [found.layer], batch=batch, progress=progress)
        labels = kept.labels.to(rows.device)
        bandwidth = likeliest(rows, labels) if self.bandwidth is None else self.bandwidth
        found.keep({"rows": rows, "labels": labels, "bandwidth": torch.tensor(bandwidth, dtype=torch.float64)})
        return found

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> "Rarity":
        """The layer is found again; values are read into it."""
        return Rarity(last_layer(model, torch.full((2, *shape), 0.5), self.layer))

    def chosen(self, pictures: Pictures, seed: int) -> Tensor:
        """The rows that are kept."""
        order = shuffled(pictures, seed)
        by_class = [order[pictures.labels[order] == label] for label in range(len(pictures.classes))]
        few = [name for name, rows in zip(pictures.classes, by_class, strict=True) if len(rows) < 2]
        if few:
            raise DataError(
                f"density: fewer than 2 pictures of class {', '.join(few)} among {len(pictures)}; allowed: 2 or more "
                "of each. Give more training pictures."
            )
        return torch.cat([rows[: self.reference] for rows in by_class])


class Rarity(Remembering):
    """Minus the log density of what `layer` is given."""

    values = ("rows", "labels", "bandwidth")
    rows: Tensor  # (M, D)
    labels: Tensor  # (M,) int64
    bandwidth: Tensor  # () float64

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and minus the log density (N,)."""
        logits, (own,) = features(model, x, [self.layer])
        alike = logits.argmax(1)[:, None] == self.labels.to(x.device)
        bandwidth = self.bandwidth.to(x.device)
        kernels = -squares(own, self.rows.to(x.device)) / (2 * bandwidth.square())
        count = alike.sum(1).double().log()
        volume = own.shape[1] * (bandwidth.log() + math.log(2 * math.pi) / 2)  # its logarithm
        density = kernels.masked_fill(~alike, -torch.inf).logsumexp(1) - count - volume
        return logits, -density.to(logits)


def likeliest(rows: Tensor, labels: Tensor) -> float:
    """The bandwidth under which rows (M, D) are likeliest, each by the others of its class, copies left out."""
    blocks = [squares(some, some) for some in (rows[labels == label] for label in labels.unique())]
    nearest = torch.cat([block.masked_fill(block == 0, torch.inf).amin(1) for block in blocks])
    mean = torch.cat([block.sum(1) / (block > 0).sum(1).clamp_min(1) for block in blocks])
    counted = nearest.isfinite()
    if not bool(counted.any()):
        raise DataError("density: the features of all training pictures of a class are alike; nothing to fit.")
    width = rows.shape[1]
    low, high = (math.sqrt(float(square[counted].mean()) / width) for square in (nearest, mean))
    tried: list[float] = [low * (high / low) ** (step / (BANDWIDTHS - 1)) for step in range(BANDWIDTHS)]
    return max(tried, key=lambda bandwidth: likelihood(blocks, bandwidth, width))


def likelihood(blocks: list[Tensor], bandwidth: float, width: int) -> float:
    """The sum of the log densities of rows by others, from their squared distances, up to a constant."""
    total = 0.0
    for block in blocks:
        kernels = (-block / (2 * bandwidth**2)).masked_fill(block == 0, -torch.inf)
        found = kernels.logsumexp(1)
        found = found[found.isfinite()]
        total += float(found.sum()) - len(found) * width * math.log(bandwidth)
    return total

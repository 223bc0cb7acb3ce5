"""A model whose confidence was corrected, as one model."""

from torch import Tensor, nn

from holdfast.models.maps import Map


class Recalibrated(nn.Module):
    """`map` of the logits of `model`: what is saved, loaded, attacked and evaluated as one.

    Args: `model` pictures to logits (N, K); `map` logits (N, K) to logits (N, K), as `holdfast.uncertainty` fits it.
    Its `backward` says how a gradient comes back: "exact", or "straight_through" where the map is piecewise constant.
    Cost: as the model; the map is small beside it.
    """

    def __init__(self, model: nn.Module, map: Map) -> None:
        super().__init__()
        self.model = model
        self.map = map

    @property
    def refused(self) -> object:
        """The class by which the model refuses to answer, if it has one (`models.Guarded`)."""
        return getattr(self.model, "refused", None)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.map(self.model(x))
        return logits

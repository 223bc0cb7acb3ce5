"""A guarded model whose classifier had its confidence mended after the detector was fitted beside it."""

from collections.abc import Mapping

from torch import Tensor, nn

from holdfast.models import Guarded, Recalibrated, Suspicion
from holdfast.models.maps import Map


class BeneathMap(Suspicion):
    """Suspicion about the classifier under a map: what was fitted beside it sees the logits it was fitted on."""

    def __init__(self, inner: Suspicion) -> None:
        super().__init__()
        self.inner = inner
        self.gradient = inner.gradient

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take the values of another."""
        self.inner.restore({name.removeprefix("inner."): value for name, value in values.items()})

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mapped logits (N, K) of a `Recalibrated` model, and the suspicion (N,) about the model in it."""
        assert isinstance(model, Recalibrated)
        logits, suspicion = self.inner(model.model, x)
        return model.map(logits), suspicion


def mended(guarded: Guarded, map: Map, stretch: float = 1.0) -> Guarded:
    """`guarded` with a map behind its classifier's logits; it refuses the same pictures.

    `stretch` is how much further apart the map takes logits: the refusal, which is measured in them, goes along.
    """
    model = Recalibrated(guarded.model, map)
    scale = float(guarded.scale) * stretch
    return Guarded(model, BeneathMap(guarded.suspicion), float(guarded.threshold), scale, guarded.classes)

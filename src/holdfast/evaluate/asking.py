"""What a model answers: logits and labels of pictures, of a guarded model those that it does not refuse."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from holdfast import detect
from holdfast.data import Pictures
from holdfast.errors import DataError
from holdfast.evaluate.statistics import Rate
from holdfast.models import Guarded
from holdfast.uncertainty import answers


@dataclass(frozen=True, eq=False)
class Answered:
    """Of `asked` pictures those that were answered."""

    logits: Tensor  # (n, K) float64, on the CPU
    labels: Tensor  # (n,) int64
    place: Tensor  # (n,) int64
    asked: int

    @property
    def known(self) -> tuple[Tensor, Tensor]:
        """Logits and labels, as measures and fits take them."""
        return self.logits, self.labels

    def share(self) -> dict[str, Any]:
        """The share that was answered, with its interval, for JSON."""
        return Rate(len(self.labels), self.asked).to_plain()


def ask(
    model: nn.Module, pictures: Pictures, *, batch: int = 256, progress: Callable[[int, int], None] | None = None
) -> Answered:
    """Logits of the classes, without that of refusal. Cost: one forward pass a picture, and the detector's.

    Raises: `DataError` where a guarded model refuses all.
    """
    if not isinstance(model, Guarded):
        logits = answers(model, pictures, batch=batch, progress=progress)
        return Answered(logits, pictures.labels, pictures.place, len(pictures))
    found, suspicion = detect.suspicions(model.suspicion, model.model, pictures, batch=batch, progress=progress)
    rows = (~model.refuses(suspicion)).nonzero().flatten()
    if not len(rows):
        raise DataError(
            f"the detector refuses all {len(pictures)} {pictures.split} pictures of {pictures.name}; allowed: a "
            "guarded model that answers some. Fit it with a smaller --false-alarms, on pictures like these."
        )
    return Answered(found[rows].double(), pictures.labels[rows], pictures.place[rows], len(pictures))

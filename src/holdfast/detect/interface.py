"""What a detector is."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import nn

from holdfast.data import Pictures
from holdfast.models.guarded import Suspicion

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@runtime_checkable
class Detector(Protocol):
    """A frozen record of options; `fit` stands it beside a classifier."""

    @property
    def name(self) -> str:
        """As the command line calls it."""
        ...

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> Suspicion:
        """How suspicious pictures are, by what clean training `pictures` are like, or what attacks make of them.

        `model` gives logits (N, K); it is borrowed, and given back as found. Raises: `DataError` for too few pictures,
        `ModelError` for a model that does not have what is looked at.
        """
        ...

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> Suspicion:
        """A `Suspicion` as `fit` makes it, with values still to be read from a file: for `holdfast.detect.load`."""
        ...

"""Salt and pepper, as of broken pixels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import uniform
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class ImpulseNoise:
    """Replace some values by 0 or by 1, each as likely, every channel of a pixel by itself.

    Strength: the share of values replaced.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "impulse-noise"
    levels: ClassVar[Levels[float]] = Levels(
        imagenet=(0.03, 0.06, 0.09, 0.17, 0.27), small=(0.01, 0.02, 0.03, 0.05, 0.07)
    )

    def apply(self, x: Tensor, strength: float, draws: Draws) -> Tensor:
        """The pictures with salt and pepper."""
        drawn = uniform(draws, *x.shape[1:])
        # One number decides both: below the share it is replaced, below half of it by black.
        return x.masked_fill(drawn < strength, 1).masked_fill_(drawn < strength / 2, 0)

"""Snow."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import LEVELS, between, cut, grey, normal
from holdfast.corrupt.filters import zoomed
from holdfast.corrupt.motion import smeared
from holdfast.draws import Draws


class Fall(NamedTuple):
    """How it snows."""

    mean: float  # of the noise that flakes are made of
    deviation: float  # of that noise
    zoom: float  # by how much flakes are enlarged
    least: float  # below it there is no flake
    radius: int  # half the length in pixels that a flake falls while the picture is taken
    smear: float  # deviation of that
    left: float  # share of the picture that the light of the snow does not whiten


@dataclass(frozen=True, kw_only=True)
class Snow:
    """Whiten the picture and add flakes that fall, smeared along an angle uniform in [-135, -45] degrees.

    Flakes are Gaussian noise, enlarged, cut at a least value, rounded down to 8 bits, smeared as by motion blur and
    rounded to 8 bits; they are added twice, the second time turned by 180 degrees. The picture is whitened towards half
    more than its grey plus a half; the grey of three channels is their luma, that of any other number their mean.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code; there of square pictures.
    """

    name: ClassVar[str] = "snow"
    levels: ClassVar[Levels[Fall]] = Levels(
        imagenet=(
            Fall(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            Fall(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            Fall(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            Fall(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            Fall(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        small=(
            Fall(0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            Fall(0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            Fall(0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            Fall(0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            Fall(0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    )

    def apply(self, x: Tensor, strength: Fall, draws: Draws) -> Tensor:
        """The pictures in snow."""
        noise = normal(draws, 1, *x.shape[2:]).mul_(strength.deviation).add_(strength.mean)
        flakes = fallen(noise, strength, between(draws, -135, -45, 1, stream=1)[:, 0]).to(x)
        white = torch.maximum(x, grey(x) * 1.5 + 0.5)
        whitened = strength.left * x + (1 - strength.left) * white
        return whitened.add_(flakes + flakes.flip(2, 3)).clamp_(0, 1)


def fallen(noise: Tensor, fall: Fall, degrees: Tensor) -> Tensor:
    """Flakes (N, 1, H, W) in [0, 1] out of noise, falling under `degrees` (N,)."""
    flakes = zoomed(noise, fall.zoom)
    levels = cut(flakes.masked_fill(flakes < fall.least, 0).clamp_(0, 1))
    return smeared(levels, fall.radius, fall.smear, degrees).round_().div_(LEVELS)

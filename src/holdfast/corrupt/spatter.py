"""Spatter: drops of water or mud on the lens."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.drops import relief
from holdfast.corrupt.fields import colour, cut, normal
from holdfast.corrupt.filters import gaussian
from holdfast.draws import Draws

WATER, MUD = (175, 238, 238), (63, 42, 20)  # pale turquoise; brown
SOLID = 0.8  # mud thinner than this is not seen


class Splash(NamedTuple):
    """What hits the lens."""

    mean: float  # of the noise that drops are made of
    deviation: float  # of that noise
    blur: float  # deviation in pixels of what makes drops of it
    least: float  # below it there is no drop
    extent: float  # of water: how much light it adds; of mud: the deviation in pixels of its edge
    mud: bool


@dataclass(frozen=True, kw_only=True)
class Spatter:
    """Drops of water, which shine by their relief, at severities 1 to 3; spots of mud, which cover, at 4 and 5.

    Drops are where blurred Gaussian noise is above a least value. Water adds its colour times how thick and how far
    from the drops' edges it is; mud takes the place of the picture. Pictures without three channels get the grey of
    either colour. A lens without a drop is left clean, where the published code divides by 0.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "spatter"
    levels: ClassVar[Levels[Splash]] = Levels(
        imagenet=(
            Splash(0.65, 0.3, 4, 0.69, 0.6, False),
            Splash(0.65, 0.3, 3, 0.68, 0.6, False),
            Splash(0.65, 0.3, 2, 0.68, 0.5, False),
            Splash(0.65, 0.3, 1, 0.65, 1.5, True),
            Splash(0.67, 0.4, 1, 0.65, 1.5, True),
        ),
        small=(
            Splash(0.62, 0.1, 0.7, 0.7, 0.5, False),
            Splash(0.65, 0.1, 0.8, 0.7, 0.5, False),
            Splash(0.65, 0.3, 1, 0.69, 0.5, False),
            Splash(0.65, 0.1, 0.7, 0.69, 0.6, True),
            Splash(0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
    )

    def apply(self, x: Tensor, strength: Splash, draws: Draws) -> Tensor:
        """The pictures behind drops."""
        noise = normal(draws, 1, *x.shape[2:]).mul_(strength.deviation).add_(strength.mean)
        drops = gaussian(noise, strength.blur)
        if strength.mud:
            cover = mud(drops, strength).to(x)
            return (x * (1 - cover)).add_(cover * colour(x, MUD)).clamp_(0, 1)
        return (x + water(drops, strength).to(x) * colour(x, WATER)).clamp_(0, 1)


def mud(drops: Tensor, splash: Splash) -> Tensor:
    """How much mud covers of each pixel, (N, 1, H, W) in [0, 1]."""
    cover = gaussian((drops > splash.least).to(drops), splash.extent)
    return cover.masked_fill(cover < SOLID, 0).clamp_(0, 1)


def water(drops: Tensor, splash: Splash) -> Tensor:
    """How much light water adds to each pixel, (N, 1, H, W) from 0 to `splash.extent`."""
    levels = cut(drops.masked_fill(drops < splash.least, 0).clamp_(0, 1))
    thick = levels * relief(levels)
    most = thick.amax((2, 3), keepdim=True)
    return torch.where(most > 0, thick / most.masked_fill(most == 0, 1), 0) * splash.extent

"""Frost on the window."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import uniform
from holdfast.corrupt.frost_texture import TEXTURES, textures
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Frost:
    """Darken the picture and add a part of a picture of frost, taken at random from one of five; cut to [0, 1].

    The published code adds photographs; here ice crystals are grown by a rule (see `holdfast.corrupt.frost_texture`),
    so that nobody's rights are in the way and a texture has any size. Pictures without three channels get the texture's
    grey. Results are near those of the photographs in strength, not in their pixels.
    Strength: what is left of the picture, how much of the frost is added, and by how much its photograph is reduced.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "frost"
    levels: ClassVar[Levels[tuple[float, float, int]]] = Levels(
        imagenet=((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
        small=((1, 0.2, 5), (1, 0.3, 5), (0.9, 0.4, 5), (0.85, 0.4, 5), (0.75, 0.45, 5)),
    )

    def apply(self, x: Tensor, strength: tuple[float, float, int], draws: Draws) -> Tensor:
        """The pictures behind frost."""
        left, added, reduced = strength
        ice = textures(reduced, coloured=x.shape[1] == 3).to(x)
        crop = _crops(ice, uniform(draws, 3), *x.shape[2:])
        return (x * left).add_(crop * added).clamp_(0, 1)


def _crops(ice: Tensor, drawn: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W): parts of textures (5, C, S, S), which close on themselves, by numbers (N, 3) in [0, 1)."""
    side = ice.shape[2]
    which, top, left = (drawn.double() * drawn.new_tensor([TEXTURES, side, side])).long().unbind(1)
    rows, columns = (torch.arange(side + more - 1, device=ice.device) % side for more in (height, width))
    every = ice[:, :, rows][..., columns].unfold(2, height, 1).unfold(3, width, 1)  # a view: no crop is made yet
    return every[which, :, top, left]

"""Colours too pale or too strong."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.draws import Draws


@dataclass(frozen=True, kw_only=True)
class Saturate:
    """Multiply the saturation of every colour and add to it, in the coordinates hue, saturation and value; cut at 1.

    Colours get paler at severities 1 and 2, stronger from 3 on. Grey has no hue and counts as red, so that it turns
    reddish where something is added: severities 4 and 5, as published. Pictures need three channels: of a picture
    without colours nothing would change unnoticed.
    Strength: the factor, and what is added after it.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    name: ClassVar[str] = "saturate"
    channels: ClassVar[int] = 3
    levels: ClassVar[Levels[tuple[float, float]]] = Levels(
        imagenet=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        small=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    )

    def apply(self, x: Tensor, strength: tuple[float, float], draws: Draws) -> Tensor:
        """The pictures in other colours."""
        factor, more = strength
        value = x.amax(1, keepdim=True)
        spread = value - x.amin(1, keepdim=True)
        grey = spread == 0
        wanted = (spread / value.masked_fill(grey, 1) * factor).add_(more).clamp_(0, 1)
        # Every channel lies below the value by a share of value times saturation that the hue alone decides.
        share = (value - x).div_(spread.masked_fill(grey, 1))
        red = x.new_tensor([0.0, 1.0, 1.0]).view(3, 1, 1)
        share = torch.where(grey, red, share)
        return (value - share.mul_(value * wanted)).clamp_(0, 1)

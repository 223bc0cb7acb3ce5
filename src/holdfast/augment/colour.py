"""Other colours: saturation and hue."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import between
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import column
from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Change saturation and hue of a picture, in the coordinates hue, saturation and value of its colours.

    Saturations are multiplied by a factor uniform in [1 - saturation, 1 + saturation] and cut at 1; all hues turn by
    an angle uniform in [-hue, hue], in whole turns. The value, a colour's largest channel, and greys stay as they are.
    Raises: `OptionError` unless 0 <= saturation <= 1 and 0 <= hue <= 0.5; when applied, for pictures without three
    channels, which have no colours: rather than do nothing unnoticed.
    """

    saturation: float = option(0.4, "largest share by which colours are stronger or paler")
    hue: float = option(0.1, "largest angle by which hues turn, in whole turns")

    name: ClassVar[str] = "colour"

    def __post_init__(self) -> None:
        """Check the options."""
        between(self, "saturation", 0, 1, "For factors from 0.6 to 1.4, pass saturation=0.4.")
        between(self, "hue", 0, 0.5, "For any hue, pass hue=0.5.")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One factor and one angle a picture."""
        from kornia.color import hsv_to_rgb, rgb_to_hsv

        if x.shape[1] != 3:
            raise OptionError(
                f"colour: pictures have {x.shape[1]} channels; allowed: 3, red, green and blue. Leave colour out; "
                "brightness and contrast are for any number of channels."
            )
        drawn = (2 * numbers(draws, 2) - 1).to(x)
        turned, stronger = column(self.hue * drawn[:, 0], x[:, 0]), column(1 + self.saturation * drawn[:, 1], x[:, 0])
        hue, saturation, value = rgb_to_hsv(x).unbind(1)
        hue = (hue + 2 * math.pi * turned) % (2 * math.pi)
        saturation = (saturation * stronger).clamp(0, 1)
        changed: Tensor = hsv_to_rgb(torch.stack([hue, saturation, value], 1))
        return changed.clamp_(0, 1)

"""A window of the padded picture."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.augment.checks import whole
from holdfast.augment.warp import Border, reflected
from holdfast.draws import Draws
from holdfast.options import one_of, option


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pad every side by `pad` pixels and cut out a window of the old size, each of its (2 pad + 1)^2 places as likely.

    The padding is zeros, or the picture mirrored at the centres of its outermost pixels.
    Raises: `OptionError` for a padding below 0 or an unknown border.
    Source: He et al. 2016, arXiv:1512.03385, sec. 4.2, with 4 pixels of zeros on CIFAR-10.
    """

    pad: int = option(4, "pixels added to every side")
    border: Border = field(default="zeros", metadata={"help": "what is outside: zeros, or the picture mirrored"})

    name: ClassVar[str] = "crop"

    def __post_init__(self) -> None:
        """Check the options."""
        whole(self, "pad", 0)
        one_of(self, "border")

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """One window a picture."""
        return self.move(x, draws)

    def move(self, mask: Tensor, draws: Draws, fill: float = 0) -> Tensor:
        """The same window of the mask."""
        height, width = mask.shape[-2:]
        place = (numbers(draws, 2) * (2 * self.pad + 1)).floor().long()
        planes = self._padded(mask.reshape(len(mask), math.prod(mask.shape[1:-2]), height, width), fill)
        windows = planes.unfold(2, height, 1).unfold(3, width, 1)  # a view of all windows
        lane = torch.arange(len(mask), device=mask.device)
        return windows[lane, :, place[:, 0], place[:, 1]].reshape(mask.shape)

    def _padded(self, planes: Tensor, fill: float) -> Tensor:
        if self.border == "zeros":
            return torch.nn.functional.pad(planes, [self.pad] * 4, value=fill)
        # By index, as torch reflects neither whole numbers nor further than a picture's own side.
        for axis in (2, 3):
            room = planes.shape[axis]
            place = reflected(torch.arange(-self.pad, room + self.pad, device=planes.device), room)
            planes = planes.index_select(axis, place)
        return planes

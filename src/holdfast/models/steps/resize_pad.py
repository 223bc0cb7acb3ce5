"""Random size, random place."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import OptionError


@dataclass(frozen=True)
class ResizePad:
    """Each picture at a random size, at a random place of a black square: another draw for each picture and call.

    The size is uniform from `smallest` to `side` pixels, the place uniform among those that hold it; a pixel shows
    the nearest one of the picture. The gradient is exact. Draws come from torch's own generator of the pictures'
    device. The model behind must take pictures of `side` x `side`.
    Args: pictures (N, C, H, W); returns (N, C, side, side).
    Raises: `OptionError` unless 1 <= smallest <= side.
    Source: Xie et al. 2018, arXiv:1711.01991, sec. 3.2: 299 to 331 pixels; there one draw a batch.
    """

    smallest: int = 299
    side: int = 331
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.side:
            raise OptionError(
                f"ResizePad: smallest={self.smallest!r}, side={self.side!r}; allowed: 1 <= smallest <= side, in pixels."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The pictures, resized and padded."""
        count, height, width = len(x), x.shape[2], x.shape[3]
        size = torch.randint(self.smallest, self.side + 1, (count,), device=x.device)
        rows, inside_rows = self._look_up(size, height)
        columns, inside_columns = self._look_up(size, width)
        picture = torch.arange(count, device=x.device)[:, None, None]
        shown = x[picture, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return shown * (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]

    def _look_up(self, size: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Along one axis (N, side): which of the picture's pixels is seen, and whether any is."""
        first = (torch.rand(len(size), device=size.device) * (self.side - size + 1)).long()
        place = torch.arange(self.side, device=size.device) - first[:, None]
        inside = (place >= 0) & (place < size[:, None])
        return (place * pixels // size[:, None]).clamp(0, pixels - 1), inside

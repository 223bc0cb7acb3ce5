"""There and back through JPEG."""

import io
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import ModelError, OptionError


@dataclass(frozen=True)
class JPEG:
    """Save each picture, values in [0, 1], as a JPEG of that `quality` and read it again; straight through back.

    Args: pictures (N, C, H, W) with one channel or three, rounded to 8 bits as a file has them.
    Raises: `OptionError` unless `quality` is a whole number from 1 to 100; `ModelError` for other channels.
    Cost: Pillow on the CPU, picture by picture.
    Source: Guo et al. 2018, arXiv:1711.00117, sec. 4.1, with its quality of 75.
    """

    quality: int = 75
    backward: ClassVar[str] = "straight_through"

    def __post_init__(self) -> None:
        if isinstance(self.quality, bool) or not isinstance(self.quality, int) or not 1 <= self.quality <= 100:
            raise OptionError(f"JPEG: quality={self.quality!r}; allowed: whole numbers from 1 to 100. Usual is 75.")

    def __call__(self, x: Tensor) -> Tensor:
        """The pictures as their files show them."""
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ModelError(f"JPEG: pictures {tuple(x.shape)}; allowed: (N, 1, H, W) or (N, 3, H, W).")
        levels = (255 * x).round().clamp(0, 255).to("cpu", torch.uint8)
        return torch.stack([self._through_a_file(picture) for picture in levels]).to(x) / 255

    def _through_a_file(self, picture: Tensor) -> Tensor:
        import numpy as np
        from PIL import Image

        file = io.BytesIO()
        pixels = picture.permute(1, 2, 0).squeeze(2).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
        with Image.open(file) as read:
            back = torch.from_numpy(np.array(read))
        return back[None] if back.ndim == 2 else back.permute(2, 0, 1)

"""There and back through JPEG."""

import io
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from holdfast.corrupt.corruption import Levels
from holdfast.corrupt.fields import LEVELS, rounded
from holdfast.draws import Draws
from holdfast.options import one_of, option


@dataclass(frozen=True, kw_only=True)
class JPEG:
    """Compress pictures, rounded to 8 bits, as JPEG and read them again.

    Three channels are red, green and blue; of any other number each is compressed as a grey picture. Through a file in
    memory, on the CPU, picture by picture: exact, but without a gradient. The differentiable form (Kornia's) passes one
    on, rounds softly, and differs by float rounding between batches.
    Strength: the quality, up to 100; lower is coarser.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code.
    """

    form: Literal["file", "differentiable"] = option("file", "through a JPEG file, or by arithmetic with a gradient")

    name: ClassVar[str] = "jpeg"
    levels: ClassVar[Levels[int]] = Levels(imagenet=(25, 18, 15, 10, 7), small=(80, 65, 58, 50, 40))

    def __post_init__(self) -> None:
        """Check the options."""
        one_of(self, "form")

    @property
    def differentiable(self) -> bool:
        """Whether a gradient goes through."""
        return self.form == "differentiable"

    def apply(self, x: Tensor, strength: int, draws: Draws) -> Tensor:
        """The pictures as their files show them."""
        planes = x if x.shape[1] == 3 else x.reshape(-1, 1, *x.shape[2:])
        through = _through_files if self.form == "file" else _through_kornia
        return through(planes, strength).reshape(x.shape)


def _through_files(x: Tensor, quality: int) -> Tensor:
    import numpy as np

    levels = rounded(x.detach()).to("cpu", torch.uint8)
    pixels = (levels.permute(0, 2, 3, 1) if x.shape[1] == 3 else levels[:, 0]).contiguous().numpy()
    read = np.empty_like(pixels)
    for place, picture in enumerate(pixels):
        read[place] = _through_a_file(picture, quality)
    back = torch.from_numpy(read)
    return (back.permute(0, 3, 1, 2) if x.shape[1] == 3 else back[:, None]).to(x).contiguous().div_(LEVELS)


def _through_a_file(pixels: Any, quality: int) -> Any:
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file, formats=("JPEG",)) as read:  # without a look at what else it could be
        return np.asarray(read)


def _through_kornia(x: Tensor, quality: int) -> Tensor:
    from kornia.enhance import jpeg_codec_differentiable

    height, width = x.shape[2:]
    # Blocks are of 8 pixels, those of colours of 16: enlarged by the outermost pixels as far as the next whole block.
    more = (0, -width % 16, 0, -height % 16)
    padded = torch.nn.functional.pad(x, more, mode="replicate").expand(-1, 3, -1, -1)
    coded: Tensor = jpeg_codec_differentiable(padded, x.new_tensor([float(quality)]))
    return coded[:, : x.shape[1], :height, :width].clamp(0, 1)

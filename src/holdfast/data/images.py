"""One picture file as bytes (C, H, W)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import OptionError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes without colour
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 2 to 8 are turned or mirrored, anything else is meaningless
TURNED, SWAPPED = range(2, 9), range(5, 9)  # the latter exchange height and width


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself before its pixels are read."""

    size: tuple[int, int]  # height and width as seen, EXIF orientation applied
    grey: bool


@dataclass(frozen=True, eq=False)
class Decoded:
    """One picture and what was changed on reading it."""

    pixels: Tensor  # (C, H, W) uint8, C = 1 or 3
    changes: tuple[str, ...]


def header(path: Path) -> Header | None:
    """Size and kind of a picture file, or None when it is no PNG, JPEG, BMP or WebP picture."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            swapped = image.getexif().get(ORIENTATION) in SWAPPED
            return Header((width, height) if swapped else (height, width), image.mode in GREY)
    except Exception:  # a broken file can raise almost anything; it is counted and named by the caller
        return None


def decode(path: Path, size: tuple[int, int] | None, colour: bool) -> Decoded | None:
    """The pixels of a picture file, or None when they cannot be read.

    Args: `size` (H, W) to resize to, None for as it is; `colour` three channels, else one.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as opened:
            turned = opened.getexif().get(ORIENTATION) in TURNED
            mode, image = opened.mode, _plain(ImageOps.exif_transpose(opened), colour)
    except Exception:  # as above
        return None
    changes = [f"converted from mode {mode} to {image.mode}"] if mode != image.mode else []
    changes += ["turned as their EXIF orientation says"] if turned else []
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        changes.append(f"resized to {size[0]}x{size[1]} (HxW), bilinear, aspect not kept")
    pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
    return Decoded(pixels.permute(2, 0, 1).contiguous(), tuple(changes))


def size_of(resize: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(H, W) as wanted. Raises: `OptionError` for anything but one or two whole numbers from 1 on."""
    if resize is None:
        return None
    pair = (resize, resize) if isinstance(resize, int) else tuple(resize)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise OptionError(f"resize={resize!r}; allowed: a side or (H, W) in pixels, 1 or more. Pass e.g. (32, 32).")
    return pair


def _plain(image: "Image.Image", colour: bool) -> "Image.Image":
    """In mode RGB or L. Transparency is dropped; 16 bits become 8 by rounding v / 257."""
    from PIL import Image

    if image.mode.startswith("I"):
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about going to RGB in one step
    return image.convert("RGB" if colour else "L")

"""Pictures as PNG data URIs, and rows of them as a figure."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.axes import WIDTH, figure, text

LARGEST = 96  # pixels a side; larger pictures are shrunk so that the page stays small
NAMES, HEADS, GAP = 96, 26, 6  # room for the names of rows, for those of columns, and between pictures


def png(picture: NDArray[np.float64], *, smooth: bool = True) -> str:
    """A picture (C, H, W) in [0, 1], clipped, as a PNG data URI; one channel is grey, three are RGB, others averaged.

    `smooth`: how a picture over `LARGEST` pixels is shrunk; a perturbation must not be averaged away to grey.
    """
    from PIL import Image

    if len(picture) not in (1, 3):
        picture = picture.mean(0, keepdims=True)
    finite = np.nan_to_num(picture, nan=0.5)
    pixels = np.rint(finite.clip(0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if max(image.size) > LARGEST:
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)
    return uri(image)


def uri(image: Any) -> str:
    """An image of Pillow as a PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def rows_of_pictures(
    rows: Sequence[tuple[str, Sequence[NDArray[Any]]]], columns: Sequence[str], *, title: str, smooth: bool = True
) -> str:
    """Named rows of pictures (C, H, W) in [0, 1] under named columns, as inline SVG with pixels left square.

    What is not a picture, such as a gradient, is to be brought into [0, 1] first; see `centred`.
    """
    most = max(len(pictures) for _, pictures in rows)
    side = (WIDTH - NAMES) / most - GAP
    high = HEADS + len(rows) * (side + GAP)
    parts = [text(NAMES + (n + 0.5) * (side + GAP), HEADS - 9, name) for n, name in enumerate(columns)]
    for down, (name, pictures) in enumerate(rows):
        top = HEADS + down * (side + GAP)
        parts.append(text(NAMES - 10, top + side / 2 + 4, name, "end"))
        for across, picture in enumerate(pictures):
            box = f'x="{NAMES + across * (side + GAP):.1f}" y="{top:.1f}" width="{side:.1f}" height="{side:.1f}"'
            parts.append(f'<image {box} href="{png(picture, smooth=smooth)}" style="image-rendering: pixelated"/>')
    return figure(title, ", ".join(name for name, _ in rows), parts, height=high)


def centred(values: NDArray[Any]) -> NDArray[np.float64]:
    """A change or a gradient (C, H, W) as a picture: grey at 0, the largest size black or white."""
    largest = float(np.abs(values).max()) or 1.0
    shown: NDArray[np.float64] = 0.5 + 0.5 * values.astype(np.float64) / largest
    return shown

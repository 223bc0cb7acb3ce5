"""Pictures of one set in the shape that a model of another set takes."""

from dataclasses import replace

import torch

from holdfast.data.pictures import Pictures
from holdfast.errors import DataError

GREY = (0.299, 0.587, 0.114)  # shares of red, green and blue in a grey value, as ITU-R BT.601 has them


def adapted(pictures: Pictures, shape: tuple[int, int, int]) -> Pictures:
    """The pictures in `shape` (C, H, W); `notes` of the result say what was done.

    Grey pictures are repeated for each colour; colours become grey by their weights in BT.601; another size is reached
    bilinearly, smoothed where it shrinks, without regard to the aspect. Bytes stay bytes (rounded), floats floats.
    Raises: `DataError` for a change of channels other than 1 to 3 or 3 to 1.
    """
    was, notes = pictures.shape, []
    if was == shape:
        return pictures
    images = pictures.images
    if was[0] != shape[0]:
        if {was[0], shape[0]} != {1, 3}:
            raise DataError(
                f"{pictures.name}: pictures of {was[0]} channels for a model of {shape[0]}; allowed: as many, or grey "
                "for colour and colour for grey. Convert them beforehand."
            )
        to_grey = shape[0] == 1
        notes.append("colours made grey (BT.601)" if to_grey else "grey repeated for each colour")
        images = _grey(images) if to_grey else images.expand(-1, 3, -1, -1).contiguous()
    if was[1:] != shape[1:]:
        notes.append(f"resized bilinearly from {was[1]}x{was[2]} to {shape[1]}x{shape[2]}")
        images = _resized(images, shape[1:])
    return replace(pictures, images=images, notes=(*pictures.notes, *notes))


def _grey(images: torch.Tensor) -> torch.Tensor:
    grey = (images.float() * torch.tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return grey.round().to(torch.uint8) if images.dtype == torch.uint8 else grey


def _resized(images: torch.Tensor, size: tuple[int, int], at_once: int = 1000) -> torch.Tensor:
    parts = []
    for some in images.split(at_once):
        made = torch.nn.functional.interpolate(some.float(), size, mode="bilinear", antialias=True)
        parts.append(made.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else made)
    return torch.cat(parts)

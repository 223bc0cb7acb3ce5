"""Draws the contact sheet of the page on corruptions: `python docs/corruptions.py`; Fashion-MNIST from HOLDFAST_DATA.

Fashion-MNIST (MIT licence) is grey; here its pictures are given colours, so that every corruption has work.
"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from holdfast import data
from holdfast.corrupt import CORRUPTIONS, corrupted

SHEET = Path(__file__).with_name("corruptions.png")
ZOOM, GAP, WORDS, HEAD = 3, 4, 118, 18  # how large a pixel is drawn; pixels between pictures, for names, for severities
CLOTH = ((0.80, 0.22, 0.20), (0.16, 0.42, 0.72), (0.90, 0.66, 0.16), (0.22, 0.55, 0.30))
WALL = (0.42, 0.50, 0.55)


def coloured(grey: Tensor) -> Tensor:
    """Pictures (N, 1, H, W) of light things on black, as coloured things before a wall lit from above."""
    cloth = torch.tensor(CLOTH).repeat(len(grey) // len(CLOTH) + 1, 1)[: len(grey), :, None, None]
    light = torch.linspace(1.25, 0.75, grey.shape[2])[:, None]
    wall = (torch.tensor(WALL).view(3, 1, 1) * light).expand(3, *grey.shape[2:])
    there = (grey * 4).clamp(0, 1)
    return (wall * (1 - there) + cloth * (0.25 + 0.95 * grey) * there).clamp(0, 1)


def drawn(x: Tensor) -> Image.Image:
    """A row a corruption: the picture as it is, then at severities 1 to 5; each row another picture of `x`."""
    side = x.shape[2] * ZOOM + GAP
    sheet = Image.new("RGB", (WORDS + 6 * side, HEAD + len(CORRUPTIONS) * side), "white")
    pen = ImageDraw.Draw(sheet)
    for column, text in enumerate(("as it is", *(f"severity {severity}" for severity in range(1, 6)))):
        pen.text((WORDS + column * side + 2, 3), text, fill="black")
    for row, name in enumerate(CORRUPTIONS):
        picture, place = x[row % len(x)][None], torch.tensor([row])
        shown = [picture, *(corrupted(picture, name, severity, seed=0, place=place) for severity in range(1, 6))]
        pen.text((4, HEAD + row * side + side // 2 - 6), name, fill="black")
        for column, one in enumerate(shown):
            large = functional.interpolate(one, scale_factor=ZOOM)[0]
            pixels = (large * 255).round().byte().permute(1, 2, 0).numpy()
            sheet.paste(Image.fromarray(pixels), (WORDS + column * side, HEAD + row * side))
    return sheet


def main(path: Path = SHEET) -> None:
    """Write the sheet as PNG."""
    x = functional.pad(data.load("fashion-mnist", limit=24).x(), (2, 2, 2, 2))
    drawn(coloured(x)).save(path, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

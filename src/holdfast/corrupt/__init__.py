"""Common corruptions: pictures as a camera, the weather or a codec spoils them. One a file, one line here."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from holdfast.corrupt.brightness import Brightness
from holdfast.corrupt.contrast import Contrast
from holdfast.corrupt.corruption import Coloured, Corruption, Differentiable, Levels, Table, applied, table_for
from holdfast.corrupt.defocus_blur import DefocusBlur
from holdfast.corrupt.elastic import Elastic
from holdfast.corrupt.fog import Fog
from holdfast.corrupt.frost import Frost
from holdfast.corrupt.gaussian_blur import GaussianBlur
from holdfast.corrupt.gaussian_noise import GaussianNoise
from holdfast.corrupt.glass_blur import GlassBlur
from holdfast.corrupt.impulse_noise import ImpulseNoise
from holdfast.corrupt.jpeg import JPEG
from holdfast.corrupt.motion_blur import MotionBlur
from holdfast.corrupt.pixelate import Pixelate
from holdfast.corrupt.saturate import Saturate
from holdfast.corrupt.shot_noise import ShotNoise
from holdfast.corrupt.snow import Snow
from holdfast.corrupt.spatter import Spatter
from holdfast.corrupt.speckle_noise import SpeckleNoise
from holdfast.corrupt.zoom_blur import ZoomBlur
from holdfast.errors import unknown
from holdfast.options import parse

__all__ = [
    "CORRUPTIONS",
    "EXTRA",
    "JPEG",
    "Brightness",
    "Coloured",
    "Contrast",
    "Corruption",
    "DefocusBlur",
    "Differentiable",
    "Elastic",
    "Fog",
    "Frost",
    "GaussianBlur",
    "GaussianNoise",
    "GlassBlur",
    "ImpulseNoise",
    "Levels",
    "MotionBlur",
    "Pixelate",
    "Saturate",
    "ShotNoise",
    "Snow",
    "Spatter",
    "SpeckleNoise",
    "Table",
    "ZoomBlur",
    "build",
    "corrupted",
    "fitting",
    "table_for",
]

CORRUPTIONS: dict[str, type[Any]] = {
    "gaussian-noise": GaussianNoise,
    "shot-noise": ShotNoise,
    "impulse-noise": ImpulseNoise,
    "speckle-noise": SpeckleNoise,
    "defocus-blur": DefocusBlur,
    "glass-blur": GlassBlur,
    "motion-blur": MotionBlur,
    "zoom-blur": ZoomBlur,
    "gaussian-blur": GaussianBlur,
    "snow": Snow,
    "frost": Frost,
    "fog": Fog,
    "brightness": Brightness,
    "spatter": Spatter,
    "contrast": Contrast,
    "elastic": Elastic,
    "pixelate": Pixelate,
    "jpeg": JPEG,
    "saturate": Saturate,
}

EXTRA = ("speckle-noise", "gaussian-blur", "spatter", "saturate")
"""The four that the source keeps for validation; the other 15 make up its mean corruption error."""


def build(name: str, options: Mapping[str, object] | None = None) -> Corruption:
    """A corruption by its name, with options as text or values, e.g. `build("glass-blur", {"shuffle": "swap"})`.

    Raises: `OptionError` for an unknown name, option or value, with the nearest known ones.
    """
    if name not in CORRUPTIONS:
        raise unknown("corruption", name, CORRUPTIONS)
    made: Corruption = parse(CORRUPTIONS[name], dict(options or {}))
    return made


def fitting(channels: int) -> tuple[str, ...]:
    """The names of all corruptions that pictures of so many channels can have: all 19 for three, else those without
    colours.
    """
    return tuple(name for name, kind in CORRUPTIONS.items() if getattr(kind, "channels", channels) == channels)


def corrupted(
    x: Tensor, corruption: Corruption | str, severity: int, *, seed: int, place: Tensor, table: Table = "auto"
) -> Tensor:
    """Pictures as a corruption leaves them.

    Args: `x` (N, C, H, W) float in [0, 1], from 8x8 up, of any number of channels but where colours are needed (see
    `fitting`); `corruption` a record, or the name of one with its default options; `severity` 1 to 5; `place` (N,)
    int64, each picture's place in the full split, which with `seed`, corruption and severity keys its noise; `table`
    which published severities: "small" (CIFAR-10-C), "imagenet" (ImageNet-C), or "auto", which takes the first up to a
    shorter side of 96 pixels.
    Returns new pictures, of shape, dtype and device of `x`, in [0, 1]. They are not rounded to 8 bits at the end, but
    where a corruption's definition does so; `holdfast.corrupt.stored` writes them as bytes. The same bits come out for
    any split into batches. No gradient goes through, but through `JPEG(form="differentiable")`.
    Raises: `OptionError` for a severity outside 1 to 5, an unknown name or table, pictures too small for the
    corruption, without the channels it needs, or with values outside [0, 1] or NaN.
    Cost: no model call.
    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261, by the published code; each record says where it differs.

    >>> import torch
    >>> x, place = torch.rand(4, 3, 32, 32), torch.arange(4)
    >>> corrupted(x, "fog", 3, seed=0, place=place).shape
    torch.Size([4, 3, 32, 32])
    """
    made = build(corruption) if isinstance(corruption, str) else corruption
    return applied(made, x, severity, seed=seed, place=place, table=table)

"""Random changes of training pictures, drawn for each picture by itself: one a file, one line here."""

from collections.abc import Mapping

from holdfast.augment.augmentation import Augmentation, Moving, augmented
from holdfast.augment.augmix import AugMix
from holdfast.augment.blur import Blur
from holdfast.augment.brightness import Brightness
from holdfast.augment.colour import Colour
from holdfast.augment.contrast import Contrast
from holdfast.augment.crop import Crop
from holdfast.augment.cutout import Cutout
from holdfast.augment.mirror import Mirror
from holdfast.augment.mixup import Mixup
from holdfast.augment.noise import Noise
from holdfast.augment.rotate import Rotate
from holdfast.augment.scale import Scale
from holdfast.errors import unknown
from holdfast.options import parse

__all__ = [
    "AUGMENTATIONS",
    "AugMix",
    "Augmentation",
    "Blur",
    "Brightness",
    "Colour",
    "Contrast",
    "Crop",
    "Cutout",
    "Mirror",
    "Mixup",
    "Moving",
    "Noise",
    "Rotate",
    "Scale",
    "augmented",
    "build",
]

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "crop": Crop,
    "mirror": Mirror,
    "rotate": Rotate,
    "scale": Scale,
    "brightness": Brightness,
    "contrast": Contrast,
    "colour": Colour,
    "blur": Blur,
    "noise": Noise,
    "cutout": Cutout,
    "augmix": AugMix,
}


def build(name: str, options: Mapping[str, object] | None = None) -> Augmentation:
    """An augmentation by its name, with options as text or values, e.g. `build("crop", {"pad": "4"})`.

    Raises: `OptionError` for an unknown name, option or value, with the nearest known ones.
    """
    if name not in AUGMENTATIONS:
        raise unknown("augmentation", name, AUGMENTATIONS)
    made: Augmentation = parse(AUGMENTATIONS[name], dict(options or {}))
    return made

"""Pictures as PNG data URIs: originals, adversarial pictures, amplified perturbations, large tables as heat maps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.pictures import png, uri


def in_box(x: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """A stored picture (C, H, W) on the scale of the threat's box, 0 at `low` and 1 at `high`.

    uint8 pictures are read as 255ths of [0, 1], which is what the model was given.
    """
    value = x.astype(np.float64) / 255 if x.dtype == np.uint8 else x.astype(np.float64)
    return (value - low) / (high - low)


def amplification(deltas: Sequence[NDArray[np.float64]]) -> float:
    """One factor for all perturbations shown, so that they can be compared.

    It takes the 99th percentile of the changes that are not zero to full black or white, rounded down to a
    readable number: whole from 10 on, else one digit behind the point. 1 when nothing changed.
    """
    changes = np.concatenate([np.abs(delta[delta != 0]).ravel() for delta in deltas]) if deltas else np.zeros(0)
    if not len(changes):
        return 1.0
    factor = 0.5 / float(np.quantile(changes, 0.99))
    # A float32 picture one step inside its radius must not turn 16 into 15.
    factor *= 1 + 1e-6
    if factor >= 10:
        return float(math.floor(factor))
    return max(math.floor(10 * factor) / 10, 0.1)


def perturbation(delta: NDArray[np.float64], factor: float) -> str:
    """A change (C, H, W) as a PNG: grey where nothing changed, brighter for more, darker for less."""
    return png(0.5 + factor * delta, smooth=False)


def mask(recorded: Any) -> str | None:
    """A mask as run.json has it, by the lengths of its stretches, as a PNG, white where changes were allowed."""
    if not isinstance(recorded, dict) or len(recorded["shape"]) not in (2, 3):
        return None
    runs = recorded["runs"]
    values = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.float64).reshape(recorded["shape"])
    return png(values[None] if values.ndim == 2 else values, smooth=False)


def heat_map(table: NDArray[np.int64]) -> str:
    """A K x K table of counts as a PNG, one pixel a cell: the diagonal green, the rest red, by share of its row."""
    from PIL import Image

    part = table / np.maximum(table.sum(1, keepdims=True), 1)
    strength = np.sqrt(part)[..., None]  # the square root lets rare confusions be seen
    colour = np.where(np.eye(len(table), dtype=bool)[..., None], (11, 110, 70), (190, 35, 20))
    pixels = np.rint(255 + strength * (colour - 255.0)).astype(np.uint8)
    return uri(Image.fromarray(pixels))

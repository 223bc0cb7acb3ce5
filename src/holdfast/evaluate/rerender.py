"""Renders pictures from parameters a second time, for the verifier: sharing no line of code with the threats.

NumPy and SciPy in float64, picture by picture; the threats use torch, all at once.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MODES = {"black": "grid-constant", "edge": "nearest", "mirror": "reflect"}


def sizes(
    name: str,
    x: Array,
    x_adv: Array,
    parameters: Array,
    options: Mapping[str, Any],
    box: tuple[float, float],
    unit: float,
) -> Array:
    """(n,): the largest parameter of each picture that its parameters give; infinite where they give another one.

    `x`, `x_adv` (n, C, H, W), `parameters` (n, ...); `options` the threat's own; `unit` the relative rounding of the
    pictures' float type. A place in the picture is wrong by a few roundings of the larger side, and a value by as much
    of the box as that shifts it.
    """
    render = RENDER[name]
    granted = 64 * unit * max(*x.shape[2:], 16) * max(box[1] - box[0], abs(box[0]), abs(box[1]))
    found = np.full(len(x), math.inf)
    for row, (picture, given, at) in enumerate(zip(x, x_adv, parameters)):
        if not np.isfinite(at).all():
            continue
        still = not at.any()
        made = picture if still else np.clip(render(picture, at, options, box), *box)
        if np.abs(made - given).max() <= (0.0 if still else granted):
            found[row] = np.abs(at).max()
    return found


def rotation(x: Array, parameters: Array, options: Mapping[str, Any], box: tuple[float, float]) -> Array:
    """A picture (C, H, W) turned against the clock, then shifted down and to the right."""
    angle, down, right = parameters.ravel()
    height, width = x.shape[1:]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    moved = options["shift"] * np.array([height * down, width * right])
    turn = math.radians(angle)
    # Takes (row, column) of the new picture to those of the old one.
    back = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(float)
    source = (places - moved - centre) @ back.T + centre
    return looked_up(x, source, options["border"], box[0])


def flow(x: Array, parameters: Array, options: Mapping[str, Any], box: tuple[float, float]) -> Array:
    """A picture (C, H, W) each of whose pixels looks along a field (2, H, W), smoothed first."""
    vectors = parameters.reshape(2, *x.shape[1:])
    if width := float(options["smooth"]):
        for axis in (1, 2):
            side = vectors.shape[axis]
            weights = np.exp(-0.5 * (np.subtract.outer(np.arange(side), np.arange(side)) / width) ** 2)
            weights /= weights.sum(1, keepdims=True)
            vectors = np.moveaxis(np.tensordot(weights, vectors, (1, axis)), 0, axis)
    places = np.stack(np.meshgrid(*map(np.arange, x.shape[1:]), indexing="ij"), -1).astype(float)
    return looked_up(x, places + np.moveaxis(vectors, 0, -1), options["border"], box[0])


def colour(x: Array, parameters: Array, options: Mapping[str, Any], box: tuple[float, float]) -> Array:
    """A picture (C, H, W) whose colours are moved, each by what lies at it in a table of levels."""
    bins = int(options["bins"])
    if bins == 1:
        return x + parameters.reshape(-1, 1, 1)
    level = (x - box[0]) / (box[1] - box[0]) * (bins - 1)
    if len(x) == 1:
        grey: Array = x + np.interp(level, np.arange(bins), parameters.ravel())
        return grey
    table = parameters.reshape(3, bins, bins, bins)  # the last axis is the first channel
    places = np.stack([level[2], level[1], level[0]])
    from scipy import ndimage  # takes longer to load than most runs need it

    moves: Array = np.stack([ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in table])
    return x + moves


def looked_up(x: Array, places: Array, border: str, black: float) -> Array:
    """The values of a picture (C, H, W) at places (H, W, 2), linearly between the pixels."""
    from scipy import ndimage

    at = np.moveaxis(places, -1, 0)
    parts = [ndimage.map_coordinates(one, at, order=1, mode=MODES[border], cval=black) for one in x]
    return np.stack(parts)


RENDER: dict[str, Callable[[Array, Array, Mapping[str, Any], tuple[float, float]], Array]] = {
    "rotation": rotation,
    "flow": flow,
    "colour": colour,
}

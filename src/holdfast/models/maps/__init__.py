"""What a recalibration makes of logits, as modules from logits (N, K) to logits (N, K).

Each is made with the sizes of what it holds, says nothing until `uncertainty` has fitted it, and is saved with the
model that it belongs to.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from holdfast.errors import OptionError, unknown
from holdfast.models.maps.affine import Affine
from holdfast.models.maps.lines import Lines
from holdfast.models.maps.one_against_all import FLOOR, against_all
from holdfast.models.maps.sigmoids import Sigmoids
from holdfast.models.maps.stairs import Stairs
from holdfast.models.maps.temper import Temper

__all__ = ["FLOOR", "MAPS", "Affine", "Lines", "Map", "Sigmoids", "Stairs", "Temper", "against_all", "build", "named"]

Map = Temper | Affine | Sigmoids | Stairs | Lines

MAPS: dict[str, type[Map]] = {
    "temper": Temper,
    "affine": Affine,
    "sigmoids": Sigmoids,
    "stairs": Stairs,
    "lines": Lines,
}


def build(plain: Mapping[str, Any]) -> Map:
    """The map that `named` described, with nothing fitted yet. Raises: `OptionError` for what no map can be."""
    sizes = {name: value for name, value in plain.items() if name != "name"}
    kind = MAPS.get(str(plain.get("name")))
    if kind is None:
        raise unknown("map of logits", str(plain.get("name")), MAPS)
    try:
        made: nn.Module = kind(**sizes)
    except TypeError as error:
        raise OptionError(f"map {plain['name']!r}: sizes {sizes!r} do not fit ({error}). Calibrate again.") from error
    assert isinstance(made, Map)
    return made


def named(made: Map) -> dict[str, Any]:
    """Name and sizes of a map, from which `build` makes one with room for the same numbers."""
    name = next(name for name, kind in MAPS.items() if isinstance(made, kind))
    return {"name": name, **made.sizes()}

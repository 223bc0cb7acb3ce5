"""Threats: what may be done to a picture. A class a norm; each owns its geometry, nobody else asks which norm it is.

Others turn, deform or recolour pictures by a few parameters, which are what moves (`Rendered`).
"""

from collections.abc import Mapping
from typing import Any

from holdfast.errors import OptionError, unknown
from holdfast.options import made, read, to_plain
from holdfast.threats.colour import Colour
from holdfast.threats.flow import Flow
from holdfast.threats.l0 import L0
from holdfast.threats.l1 import L1
from holdfast.threats.l2 import L2
from holdfast.threats.linf import Linf
from holdfast.threats.mask import Mask
from holdfast.threats.masked import Masked, norm_name
from holdfast.threats.patch import Patch
from holdfast.threats.pixels import Pixels
from holdfast.threats.rendered import Rendered
from holdfast.threats.rotation import Rotation
from holdfast.threats.threat import DrawsLike, Limits, Threat
from holdfast.threats.threat import whole_box as box_of_norm

__all__ = [
    "L0",
    "L1",
    "L2",
    "NORMS",
    "OWN",
    "THREATS",
    "AnyThreat",
    "Colour",
    "DrawsLike",
    "Flow",
    "Limits",
    "Linf",
    "Mask",
    "Masked",
    "Patch",
    "Pixels",
    "Rendered",
    "Rotation",
    "Threat",
    "build",
    "norm_name",
    "of_pixels",
    "plain",
    "whole_box",
]

AnyThreat = Threat | Rendered

NORMS: dict[str, type[Linf] | type[L2] | type[L1] | type[L0]] = {
    threat.name: threat for threat in (Linf, L2, L1, L0, Pixels)
}
PLACED: tuple[type[AnyThreat], ...] = (Masked, Patch)
RENDERED: tuple[type[AnyThreat], ...] = (Rotation, Flow, Colour)
THREATS: dict[str, type[AnyThreat]] = {**NORMS, **{threat.name: threat for threat in (*PLACED, *RENDERED)}}

OWN = ("eps", "low", "high")  # options that every threat has, with arguments of their own wherever one is made


def build(
    name: str, *, eps: float, low: float = 0.0, high: float = 1.0, options: Mapping[str, object] | None = None
) -> AnyThreat:
    """The threat of that name, with radius `eps` in the box [low, high]; `options` are further ones, also as text.

    Raises: `OptionError` for an unknown name or option, or for a radius, box or option that is not allowed.
    """
    if name not in THREATS:
        raise unknown("threat", name, THREATS)
    further = dict(options or {})
    for own in OWN:
        if own in further:
            raise OptionError(f"threat option {own}={further[own]!r}; allowed: as --{own} or {own}=. Pass it there.")
    kind: type[Any] = THREATS[name]
    found: AnyThreat = made(kind, {"eps": eps, "low": low, "high": high, **read(kind, further)})
    return found


def plain(threat: AnyThreat) -> dict[str, Any]:
    """Name and options of a threat, ready for JSON."""
    return {"name": threat.name, **to_plain(threat)}


def of_pixels(threat: AnyThreat, who: str) -> Threat:
    """The threat, if it moves pixels. Raises: `OptionError`, in the name of `who`, for one that renders pictures."""
    if isinstance(threat, Rendered):
        moving = (*NORMS, *(placed.name for placed in PLACED))
        raise OptionError(f"{who}: threat {threat.name!r}; allowed: {', '.join(moving)}. Choose one of them.")
    return threat


def whole_box(threat: AnyThreat, shape: tuple[int, ...]) -> float:
    """The largest radius there is for pictures of a shape (C, H, W): that at which all the threat knows is allowed."""
    return threat.with_eps(0.0).ball(shape).high if isinstance(threat, Rendered) else box_of_norm(threat, shape)

"""Threats: what may be done to a picture. A class a norm; each owns its geometry, nobody else asks which norm it is."""

from collections.abc import Mapping
from typing import Any

from holdfast.errors import OptionError, unknown
from holdfast.options import parse, to_plain
from holdfast.threats.l0 import L0
from holdfast.threats.l1 import L1
from holdfast.threats.l2 import L2
from holdfast.threats.linf import Linf
from holdfast.threats.pixels import Pixels
from holdfast.threats.threat import DrawsLike, Limits, Threat, whole_box

__all__ = [
    "L0",
    "L1",
    "L2",
    "OWN",
    "THREATS",
    "DrawsLike",
    "Limits",
    "Linf",
    "Pixels",
    "Threat",
    "build",
    "plain",
    "whole_box",
]

THREATS: dict[str, type[Linf] | type[L2] | type[L1] | type[L0]] = {
    threat.name: threat for threat in (Linf, L2, L1, L0, Pixels)
}


OWN = ("eps", "low", "high")  # options that every threat has, with arguments of their own wherever one is made


def build(
    name: str, *, eps: float, low: float = 0.0, high: float = 1.0, options: Mapping[str, object] | None = None
) -> Threat:
    """The threat of that name, with radius `eps` in the box [low, high]; `options` are further ones, also as text.

    Raises: `OptionError` for an unknown name or option, or for a radius, box or option that is not allowed.
    """
    if name not in THREATS:
        raise unknown("threat", name, THREATS)
    further = dict(options or {})
    for own in OWN:
        if own in further:
            raise OptionError(f"threat option {own}={further[own]!r}; allowed: as --{own} or {own}=. Pass it there.")
    return parse(THREATS[name], {"eps": eps, "low": low, "high": high, **further})


def plain(threat: Threat) -> dict[str, Any]:
    """Name and options of a threat, ready for JSON."""
    return {"name": threat.name, **to_plain(threat)}

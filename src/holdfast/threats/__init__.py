"""Threats: what may be done to a picture. A class a norm; each owns its geometry, nobody else asks which norm it is."""

from holdfast.errors import unknown
from holdfast.threats.l0 import L0
from holdfast.threats.l1 import L1
from holdfast.threats.l2 import L2
from holdfast.threats.linf import Linf
from holdfast.threats.pixels import Pixels
from holdfast.threats.threat import DrawsLike, Limits, Threat, whole_box

__all__ = ["L0", "L1", "L2", "THREATS", "DrawsLike", "Limits", "Linf", "Pixels", "Threat", "build", "whole_box"]

THREATS: dict[str, type[Linf] | type[L2] | type[L1] | type[L0]] = {
    threat.name: threat for threat in (Linf, L2, L1, L0, Pixels)
}


def build(name: str, *, eps: float, low: float = 0.0, high: float = 1.0) -> Threat:
    """The threat of that name: "linf", "l2", "l1", "l0" or "pixels", with radius `eps` in the box [low, high].

    Raises: `OptionError` for an unknown name, or for a radius or box that is not allowed.
    """
    if name not in THREATS:
        raise unknown("threat", name, THREATS)
    return THREATS[name](eps=eps, low=low, high=high)

"""Attacks on pictures that are rendered from parameters: what moves are the parameters."""

from dataclasses import replace

import torch
from torch import Tensor

from holdfast.access.oracle import Rendering
from holdfast.attacks.result import AttackResult
from holdfast.threats import AnyThreat, Rendered, Threat


def seen_from(threat: AnyThreat, x: Tensor) -> tuple[Tensor, Rendering | None, Threat]:
    """What attacks are shown in the place of pictures, how the model sees that, and the threat on it.

    Parameters that leave the pictures as they are, where the threat renders them; else the pictures themselves.
    Raises: `DataError` for pictures that cannot be rendered.
    """
    if not isinstance(threat, Rendered):
        return x, None, threat
    shape = tuple(x.shape[1:])
    return x.new_zeros(len(x), *threat.shape(shape)), rendering(threat, x), threat.ball(shape)


def rendering(threat: Rendered, x: Tensor) -> Rendering:
    """What the model is shown at some parameters of some of the pictures `x`."""

    def shown(parameters: Tensor, picture: Tensor) -> Tensor:
        return threat.render(x.index_select(0, picture), parameters)

    return shown


def rendered(found: AttackResult, threat: Rendered, x: Tensor, batch: int) -> AttackResult:
    """What was found among parameters as pictures, with the parameters beside them."""
    parts = zip(x.split(batch), found.x_adv.to(x).split(batch), strict=True)
    with torch.no_grad():
        x_adv = torch.cat([threat.render(*part) for part in parts])
    return replace(found, x_adv=x_adv, parameters=found.x_adv)

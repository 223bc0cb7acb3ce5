"""The smallest change that breaks each picture, whatever the radius."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from holdfast.access.borrow import Model
from holdfast.attacks.attack import Attack
from holdfast.attacks.engine import run
from holdfast.attacks.result import AttackResult
from holdfast.threats import AnyThreat, whole_box


def smallest(
    attack: Attack | Sequence[Attack], model: Model, x: Tensor, y: Tensor, threat: AnyThreat, **options: Any
) -> AttackResult:
    """Attack pictures and return the smallest success seen of each, in the threat's norm and box; `eps` plays no part.

    Meant for attacks that are `minimal`; of any other one the smallest of its successes within the whole box is kept.
    Arguments, result, errors and cost are those of `holdfast.attacks.run`, which takes `options`; the accuracy at a
    radius is then the share of pictures whose size is above it.
    """
    anywhere = threat.with_eps(whole_box(threat, tuple(x.shape[1:])))
    return run(attack, model, x, y, anywhere, aim="smallest", **options)

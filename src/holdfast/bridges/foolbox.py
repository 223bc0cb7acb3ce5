"""Attacks of Foolbox (Rauber et al. 2020, 10.21105/joss.02607)."""

import math
from functools import partial
from typing import Any

from torch import Tensor, nn

from holdfast.access import Access
from holdfast.attacks import External
from holdfast.bridges.library import library, shown, version
from holdfast.errors import OptionError
from holdfast.threats import Threat

NORMS = {0: "l0", 1: "l1", 2: "l2", math.inf: "linf"}  # by Foolbox's p


def foolbox(
    attack: Any, *, name: str | None = None, access: Access = Access.GRADIENT, restores: bool = False
) -> External:
    """An attack of Foolbox, such as `foolbox(foolbox.attacks.LinfPGD(steps=40))`.

    It gets the model as `foolbox.PyTorchModel` in the threat's box, the threat's radius as `epsilons`, and labels as an
    untargeted goal. What it returns for that radius is taken, which Foolbox clips to it: of an attack that looks for
    the smallest change, the point at the radius.

    Args: `attack` as Foolbox makes it; `name` in the tables, by default "foolbox:" and its class; `access` below
    `GRADIENT` for an attack that lives on scores or labels; `restores` for one that gives the original back where it
    fails.
    Raises: `OptionError` where Foolbox is missing or `attack` is none of its attacks; when used within another norm
    than its own. Cost: Foolbox's passes, see `run_external`; it looks at what it found once more than is needed.
    """
    if not isinstance(attack, library("foolbox").Attack):
        raise OptionError(
            f"bridges.foolbox: {attack!r}; allowed: an attack of Foolbox, such as foolbox.attacks.LinfPGD(steps=40)."
        )
    return External(
        call=partial(_call, attack),
        name=name or f"foolbox:{_class(attack)}",
        access=access,
        library=version("foolbox"),
        options=shown(attack),
        norms=_norms(attack),
        restores=restores,
    )


def _call(attack: Any, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    theirs = library("foolbox")
    wrapped = theirs.PyTorchModel(model, bounds=(threat.low, threat.high), device=x.device)
    _, clipped, _ = attack(wrapped, x, theirs.criteria.Misclassification(y), epsilons=float(threat.eps))
    found: Tensor = clipped
    return found.clamp(threat.low, threat.high)  # clipping to the radius may round a value over the box's edge


def _class(attack: Any) -> str:
    inner = getattr(attack, "attack", None)  # what `attack.repeat(3)` repeats
    return type(attack).__name__ if inner is None else f"{_class(inner)}.repeat"


def _norms(attack: Any) -> tuple[str, ...]:
    """The norm that an attack states, if it states one: those of any distance are told theirs by their user."""
    try:
        p = attack.distance.p
    except (AttributeError, ValueError):
        return ()
    return (NORMS[p],) if p in NORMS else ()

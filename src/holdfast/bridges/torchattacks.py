"""Attacks of torchattacks (Kim 2020, arXiv:2010.01950)."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from holdfast.access import Access
from holdfast.attacks import External
from holdfast.bridges.library import check_box, made, made_each_batch, parameters
from holdfast.threats import Threat

RESTORE = ("AutoAttack", "FAB", "Square")  # give the original back where they fail
NORMS = {"Linf": "linf", "L2": "l2", "L1": "l1"}


def torchattacks(
    maker: Callable[..., Any],
    options: Mapping[str, object] | None = None,
    *,
    name: str | None = None,
    access: Access = Access.GRADIENT,
    restores: bool = False,
) -> External:
    """An attack of torchattacks from its class, such as `torchattacks(torchattacks.PGD, {"steps": 40})`.

    Made anew for each batch by `maker(model, eps=..., **options)`; `maker` may be any function of that form. Where it
    has no `eps`, it looks for the smallest change, and points beyond the radius are brought back to it. Step sizes
    (`alpha`) are in pixel units there and do not follow the radius, unless `maker` sees to it.

    Args: `name` in the tables, by default "torchattacks:" and the class; `access` below `GRADIENT` for an attack that
    lives on scores or labels; `restores` for one that gives the original back where it fails, as some are known to.
    Raises: `OptionError` where the library is missing, for an option that the class does not have, and when used
    within a box other than [0, 1] or another norm than the class states. Cost: the library's passes, see
    `run_external`.
    """
    restores = restores or getattr(maker, "__name__", "") in RESTORE
    return made_each_batch(
        "torchattacks", maker, options, call=_call, norms=_norms, name=name, access=access, restores=restores
    )


def _call(
    maker: Callable[..., Any], options: Mapping[str, object], model: nn.Module, x: Tensor, y: Tensor, threat: Threat
) -> Tensor:
    check_box("torchattacks", threat)
    attack = made(maker, model, options, eps=float(threat.eps))
    if hasattr(attack, "set_device"):
        attack.set_device(x.device)  # it looks at the parameters, and a plain function has none
    found: Tensor = attack(x, y)
    return found


def _norms(maker: Callable[..., Any], options: Mapping[str, object]) -> tuple[str, ...]:
    """The norm that an option states, given or by default."""
    known = parameters(maker)
    said = options.get("norm", known["norm"].default if "norm" in known else None)
    return (NORMS[said],) if isinstance(said, str) and said in NORMS else ()

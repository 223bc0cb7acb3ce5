"""A plain function as an attack."""

import hashlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from holdfast.access import Access
from holdfast.attacks import External
from holdfast.bridges.library import parameters, shown
from holdfast.errors import OptionError
from holdfast.threats import Threat


def function(
    call: Callable[..., Tensor],
    *,
    name: str | None = None,
    access: Access = Access.GRADIENT,
    options: str = "",
    minimal: bool = False,
    restores: bool = False,
) -> External:
    """An attack from any callable `(model, x, y) -> x_adv`, or `(model, x, y, threat) -> x_adv` that heeds the radius.

    Args: `call` gets a module from pictures to logits, `x` float (N, C, H, W) in the threat's box and `y` (N,) int64,
    both its own to change, and returns pictures like `x`; one with a parameter named `threat` gets that as well,
    others have a radius of their own; `name` in the tables, by default the function's; `access` the most it may learn
    of the model; `options` how it is set, where its code does not say; `minimal`, `restores` as `External`.
    A run is not resumed with a function whose source or options changed; what it closes over is not seen: name it in
    `options`. Random numbers of torch, NumPy and `random` are seeded for it.

    Raises: `OptionError` for what cannot be called. Cost: the function's own passes, see `run_external`.
    """
    if not callable(call) or inspect.isclass(call):
        raise OptionError(
            f"bridges.function: {call!r}; allowed: a callable (model, x, y) -> x_adv. Of a class, pass an instance."
        )
    heeds = "threat" in parameters(call)
    return External(
        call=partial(_with_threat, call) if heeds else partial(_without_threat, call),
        name=name or _name(call),
        access=access,
        library="function",
        options=", ".join(filter(None, (shown(call), _fingerprint(call), options))),
        minimal=minimal,
        restores=restores,
        any_radius=heeds,
    )


def _with_threat(call: Callable[..., Tensor], model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    return call(model, x, y, threat=threat)


def _without_threat(call: Callable[..., Tensor], model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    return call(model, x, y)


def _innermost(call: object) -> Any:
    """The code behind a partial or an object that can be called."""
    while isinstance(call, partial):
        call = call.func
    return call if inspect.isroutine(call) else type(call)


def _name(call: object) -> str:
    return str(_innermost(call).__name__).strip("<>")


def _fingerprint(call: object) -> str:
    """A hash of the source, which tells a changed function from the one before; nothing where there is no source."""
    try:
        source = inspect.getsource(_innermost(call))
    except (OSError, TypeError):
        return ""
    return f"source {hashlib.sha256(source.encode()).hexdigest()[:12]}"

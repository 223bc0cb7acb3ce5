"""Other libraries: imported when used, named with their version, their attacks made from options."""

import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module, metadata
from typing import Any

from torch import Tensor

from holdfast.access import Access
from holdfast.attacks import External
from holdfast.errors import OptionError, unknown
from holdfast.threats import Threat

INSTALL = {
    "foolbox": "pip install foolbox",
    # Its attacks run without torchvision, which it asks pip for.
    "torchattacks": "pip install --no-deps torchattacks",
    "art": "pip install adversarial-robustness-toolbox",
    "pyautoattack": "pip install pyautoattack",
}
PACKAGE = {"art": "adversarial-robustness-toolbox"}  # where the package is called otherwise than the module


def library(name: str) -> Any:
    """The module `name`, which may be a part of a library. Raises: `OptionError` that says how to install it."""
    top = name.partition(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a library says of its own imports is not for our users to mend
            return import_module(name)
    except ImportError as error:
        raise OptionError(
            f"the library {top} cannot be imported: {error}; allowed: bridges to libraries that are installed. "
            f"Install it: {INSTALL[top]}"
        ) from error


def version(name: str) -> str:
    """ "foolbox 3.3.4", for run.json."""
    return f"{name} {metadata.version(PACKAGE.get(name, name))}"


def shown(thing: object) -> str:
    """An attack or a value as text that is the same in every run: without addresses in memory."""
    text = thing.__qualname__ if inspect.isclass(thing) or inspect.isfunction(thing) else repr(thing)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def shown_call(maker: object, options: Mapping[str, object]) -> str:
    """ "PGD(steps=40)", from what makes an attack and the options it is given."""
    return f"{shown(maker)}({', '.join(f'{name}={shown(value)}' for name, value in options.items())})"


def parameters(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """What a class or function takes; nothing for one that does not say."""
    try:
        return inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return {}


def made_each_batch(
    where: str,
    maker: Callable[..., Any],
    options: Mapping[str, object] | None,
    *,
    call: Callable[..., Tensor],
    norms: Callable[[Callable[..., Any], Mapping[str, object]], tuple[str, ...]],
    name: str | None,
    access: Access,
    restores: bool,
) -> External:
    """An attack that `call(maker, options, model, x, y, threat)` makes anew for each batch, from a library's class.

    A class without `eps` looks for the smallest change. `norms` reads those it is for from the class and its options.
    Raises: `OptionError` where the library `where` is missing, and for an option that the class does not have.
    """
    library(where)
    given = dict(options or {})
    check_options(maker, given)
    return External(
        call=partial(call, maker, given),
        name=name or f"{where}:{shown(maker)}",
        access=access,
        library=version(where),
        options=shown_call(maker, given),
        norms=norms(maker, given),
        minimal="eps" not in parameters(maker),
        restores=restores,
        any_radius="eps" not in given,
    )


def made(maker: Callable[..., Any], first: object, options: Mapping[str, object], **common: object) -> Any:
    """`maker(first, ...)` with the options, and of `common` (radius, norm) what it takes and `options` leave open."""
    fitting = {name: value for name, value in common.items() if name in parameters(maker) and name not in options}
    return maker(first, **fitting, **options)


def check_options(maker: Callable[..., Any], options: Mapping[str, object]) -> None:
    """Raise `OptionError` for options that a class or function does not take, if it says what it takes."""
    known = parameters(maker)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    for name in options:
        if name not in known:
            raise unknown(f"option of {shown(maker)}", name, [n for n in known if n != "self"])


def check_box(name: str, threat: Threat) -> None:
    """Raise `OptionError` unless pictures are in [0, 1], for a library that knows no other box."""
    if (threat.low, threat.high) != (0.0, 1.0):
        raise OptionError(
            f"{name}: the threat's box is [{threat.low:g}, {threat.high:g}]; allowed: [0, 1], the only one it knows. "
            "Scale the pictures, or choose another library's attack."
        )

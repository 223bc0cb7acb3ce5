"""Attacks from elsewhere by name, as the command line has them: `foolbox:LinfPGD`, `path/to/file.py:function`."""

import ast
import inspect
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast, get_args

from holdfast.access import Access
from holdfast.attacks import ATTACKS, External
from holdfast.bridges.art import art
from holdfast.bridges.autoattack import Version, autoattack
from holdfast.bridges.foolbox import foolbox
from holdfast.bridges.function import function
from holdfast.bridges.library import check_options, library
from holdfast.bridges.torchattacks import torchattacks
from holdfast.errors import OptionError, unknown
from holdfast.models.user import is_user_model, load_function

LIBRARIES = {"foolbox": "foolbox.attacks", "torchattacks": "torchattacks", "art": "art.attacks.evasion"}
"""Where the attacks of each library lie."""


def is_bridge(text: str) -> bool:
    """Whether a name means an attack from elsewhere: LIBRARY:CLASS or FILE.py:FUNCTION."""
    return ":" in text


def build(text: str, options: Mapping[str, str] | None = None) -> External:
    """An attack from elsewhere by name, with options as text, e.g. `build("foolbox:LinfPGD", {"steps": "20"})`.

    Names: `foolbox:CLASS`, `torchattacks:CLASS`, `art:CLASS`, `pyautoattack:VERSION`, `path/to/file.py:FUNCTION`.
    Options are those of the class; a number, fraction, "true", "false" or "none" is read as such, all else is text.
    `access`, one of "labels", "scores" and "gradient", and `restores`, for one that gives the original back where it
    fails, may go with any but pyautoattack, of which both are known.
    Raises: `OptionError` for an unknown name or option and for a library that is not installed; `ModelError` for a
    file that cannot be used.
    """
    given = {name: value_of(value) for name, value in (options or {}).items()}
    name, _, kind = text.partition(":")
    access = Access.GRADIENT if name == "pyautoattack" else _access(given.pop("access", "gradient"))
    restores = _truth("restores", given.pop("restores", False))
    if is_user_model(text):
        _no_options(text, given)
        return function(load_function(text), access=access, restores=restores)
    if name == "pyautoattack":
        _no_options(text, given)
        versions = [version for version in get_args(Version) if version != "custom"]
        if kind not in versions:
            raise unknown("version of pyautoattack", kind, versions)
        return autoattack(cast(Version, kind))
    if name in ATTACKS:
        raise OptionError(
            f"attack {text!r}; allowed: {name} alone, with its options beside it. Write --attack {name} --set {kind}."
        )
    if name not in LIBRARIES:
        raise unknown("library of attacks", name, [*LIBRARIES, "pyautoattack"])
    maker = _attack_class(name, kind)
    if name == "foolbox":
        check_options(maker, given)
        return foolbox(_instance(maker, given), name=text, access=access, restores=restores)
    bridge = torchattacks if name == "torchattacks" else art
    return bridge(maker, given, access=access, restores=restores)


def value_of(text: str) -> object:
    """A value from text, as Python has it, with fractions; text where it is nothing else.

    >>> [value_of(text) for text in ("20", "8/255", "true", "none", "Linf")]
    [20, 0.03137254901960784, True, None, 'Linf']
    """
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(Fraction(text)) if "/" in text else ast.literal_eval(text)
    except (ValueError, SyntaxError, ZeroDivisionError):
        return text


def _access(level: object) -> Access:
    levels = {access.name.lower(): access for access in (Access.LABELS, Access.SCORES, Access.GRADIENT)}
    if level not in levels:
        raise unknown("access", str(level), levels)
    return levels[str(level)]


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{name}={value!r}; allowed: true, false.")
    return value


def _attack_class(name: str, kind: str) -> Callable[..., Any]:
    there = library(LIBRARIES[name])
    known = [n for n, value in vars(there).items() if inspect.isclass(value) and not n.startswith("_")]
    if kind not in known:
        raise unknown(f"attack of {name}", kind, known)
    return cast(Callable[..., Any], getattr(there, kind))


def _instance(maker: Callable[..., Any], options: Mapping[str, object]) -> Any:
    try:
        return maker(**options)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{maker.__name__} cannot be made with {dict(options)}: {error}; allowed: what its library takes."
        ) from error


def _no_options(text: str, options: Mapping[str, object]) -> None:
    if options:
        raise OptionError(f"attack {text!r}: {', '.join(options)} given; allowed: no options. Leave --set out.")

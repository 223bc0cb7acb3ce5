"""Frozen option records from text and back: what `--set steps=40` needs, and what a run folder keeps.

A record is a frozen dataclass. Its fields say which options exist, of which type, with which default and
help, so the command line, the listings and the reference pages follow from the record and nothing is written
twice. Types understood: int, float, bool, str, `Literal`, tuples of one of them, and `... | None`.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from os import PathLike, fspath
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from holdfast.errors import OptionError, unknown

Record = TypeVar("Record")

_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_WORDS = {int: "a whole number", float: "a number, such as 0.1 or 8/255", bool: "true or false", str: "text"}


class Option(NamedTuple):
    """One option of a record, as listings show it."""

    name: str
    type: str  # in words: "a whole number"
    default: Any  # `dataclasses.MISSING` where a value must be given
    help: str


def option(default: Any, help: str) -> Any:
    """A dataclass field with a default and the help that `describe` shows."""
    return field(default=default, metadata={"help": help})


def parse(record_type: type[Record], given: Mapping[str, object], *, base: Record | None = None) -> Record:
    """Make a record from options given as text, read by the types of its fields.

    Values that are not text are checked for their type and kept; a list stands for a tuple, so what
    `to_plain` wrote reads back. Options not given keep the value of `base`, or the default where there is no
    base.
    Raises: `OptionError` for an unknown name (with the nearest), a value of the wrong type, a missing option;
    and whatever the record itself refuses.
    """
    values = read(record_type, given)
    if base is not None:
        kept = {entry.name: getattr(base, entry.name) for entry in _fields(record_type)}
        return record_type(**{**kept, **values})
    return made(record_type, values)


def read(record_type: type[Any], given: Mapping[str, object]) -> dict[str, Any]:
    """Options given as text as values of the types of a record's fields. Raises: `OptionError` as `parse`."""
    known = {entry.name for entry in _fields(record_type)}
    hints = get_type_hints(record_type)
    for name in given:
        if name not in known:
            raise unknown(f"option of {record_type.__name__}", name, known)
    return {name: _read(hints[name], value, f"{record_type.__name__}: {name}") for name, value in given.items()}


def made(record_type: type[Record], values: Mapping[str, Any]) -> Record:
    """A record of these values. Raises: `OptionError` for one without a default that is not among them."""
    hints = get_type_hints(record_type)
    for entry in _fields(record_type):
        name = entry.name
        if name not in values and entry.default is MISSING and entry.default_factory is MISSING:
            raise OptionError(
                f"{record_type.__name__}: {name} is not given and has no default; "
                f"allowed: {_words(hints[name])}. Pass {name}=VALUE."
            )
    return record_type(**values)


def describe(record: object) -> list[Option]:
    """The options of a record type with its defaults, or of a record with the values it holds."""
    kind = record if isinstance(record, type) else type(record)
    hints = get_type_hints(kind)
    return [
        Option(
            entry.name,
            _words(hints[entry.name]),
            _default(entry) if record is kind else getattr(record, entry.name),
            str(entry.metadata.get("help", "")),
        )
        for entry in _fields(kind)
    ]


def to_plain(record: object) -> dict[str, Any]:
    """The options of a record as JSON-ready values: tuples become lists, tensors nested lists, records dicts.

    Raises: `OptionError` for a value that JSON has no form for, NaN and infinity included.
    """
    return {entry.name: _plain(getattr(record, entry.name), entry.name) for entry in _fields(type(record))}


def _fields(kind: type) -> list["Field[Any]"]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is not a dataclass")
    return [entry for entry in fields(kind) if entry.init]


def _default(entry: "Field[Any]") -> Any:
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def _read(hint: Any, value: object, place: str) -> Any:
    """`value` as the type `hint`, or an `OptionError` that names the place, the value and what is allowed."""
    try:
        return _as(hint, value)
    except (ValueError, ZeroDivisionError, OverflowError):
        shown = f"{value!r}" if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."
        raise OptionError(f"{place}={shown}; allowed: {_words(hint)}.") from None


def _as(hint: Any, value: object) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _as_union(get_args(hint), value)
    if origin is Literal:
        return _as_literal(get_args(hint), value)
    if origin is tuple:
        return _as_tuple(get_args(hint), value)
    if hint in _SCALARS:
        return _SCALARS[hint](value)
    if hint is Any or (isinstance(origin or hint, type) and isinstance(value, origin or hint)):
        return value
    raise ValueError


def _as_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    return int(value)


def _as_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    above, slash, below = value.partition("/") if isinstance(value, str) else (value, "", "")
    number = float(above) / float(below) if slash else float(above)
    if not math.isfinite(number):
        raise ValueError
    return number


def _as_bool(value: object) -> bool:
    if isinstance(value, str) and value.strip().lower() in _TRUTH:
        return _TRUTH[value.strip().lower()]
    if isinstance(value, bool):
        return value
    raise ValueError


def _as_str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError


_SCALARS: dict[Any, Any] = {int: _as_int, float: _as_float, bool: _as_bool, str: _as_str}


def _as_union(members: tuple[Any, ...], value: object) -> Any:
    nothing = value is None or (isinstance(value, str) and value.strip().lower() in ("none", ""))
    if nothing and type(None) in members:
        return None
    for member in members:
        if member is not type(None):
            try:
                return _as(member, value)
            except ValueError:
                continue
    raise ValueError


def _as_literal(allowed: tuple[Any, ...], value: object) -> Any:
    for choice in allowed:
        # `True == 1`, so the type is compared too.
        if (type(value) is type(choice) and value == choice) or (isinstance(value, str) and value == str(choice)):
            return choice
    raise ValueError


def _as_tuple(members: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if isinstance(value, str):
        parts: list[Any] = [part.strip() for part in value.strip().strip("()[]").split(",") if part.strip()]
    elif isinstance(value, tuple | list):
        parts = list(value)
    else:
        raise ValueError
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(_as(members[0], part) for part in parts)
    return tuple(_as(member, part) for member, part in zip(members, parts, strict=True))


def _words(hint: Any) -> str:
    """A type in words, for errors and listings."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        members = [_words(member) for member in get_args(hint) if member is not type(None)]
        return " or ".join(members + ["none"] * (type(None) in get_args(hint)))
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(hint))
    if origin is tuple:
        parts = get_args(hint)
        if len(parts) == 2 and parts[1] is Ellipsis:
            return f"{_words(parts[0])}, or several with commas between"
        return f"{len(parts)} values with commas between: {'; '.join(map(_words, parts))}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, tuple | list):
        return [_plain(part, place) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part, f"{place}.{key}") for key, part in value.items()}
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "tolist"):  # tensors and NumPy values
        return _plain(value.tolist(), place)
    raise OptionError(
        f"{place}={value!r} cannot be written as JSON; allowed: finite numbers, text, true or false, none, "
        "and lists or mappings of them."
    )


def refused(record: Any, name: str, allowed: str, mend: str) -> OptionError:
    """The error for an option of a record that is not allowed."""
    return OptionError(f"{type(record).__name__}: {name}={getattr(record, name)!r}; allowed: {allowed}. {mend}")


def one_of(record: Any, *names: str) -> None:
    """Raise unless each named option is one of the values that its type lists, or None where it may be."""
    hints = get_type_hints(type(record))
    for name in names:
        parts = (hints[name],) if get_origin(hints[name]) is Literal else get_args(hints[name])
        known = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
        if type(None) in parts and getattr(record, name) is None:
            continue
        if getattr(record, name) not in known:
            raise refused(record, name, f"one of {', '.join(known)}", f"For example {name}={known[0]}.")

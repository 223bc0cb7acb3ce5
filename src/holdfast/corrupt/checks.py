"""Checks of options that several corruptions share."""

from typing import Any, get_args, get_type_hints

from holdfast.errors import OptionError


def one_of(record: Any, name: str) -> None:
    """Raise `OptionError` unless the option is one of the values that its type lists."""
    known = get_args(get_type_hints(type(record))[name])
    value = getattr(record, name)
    if value not in known:
        raise OptionError(
            f"{type(record).__name__}: {name}={value!r}; allowed: one of {', '.join(known)}. "
            f"For example {name}={known[0]}."
        )

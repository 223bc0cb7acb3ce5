"""Errors that say what was given, what is allowed, and how to mend it.

Every error that holdfast raises on purpose is a `HoldfastError`; its text is one line that a user can act on.
The command line prints that line and exits 2 for an `OptionError` (wrong usage) and 1 for the others.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class HoldfastError(Exception):
    """Base of all errors raised on purpose."""


class OptionError(HoldfastError, ValueError):
    """An option is outside what is allowed, or a name is unknown."""


class OptionErrors(OptionError):
    """Several options are outside what is allowed: a line each, below one that says how many."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join([f"{len(problems)} problems:", *(f"  {problem}" for problem in problems)]))
        self.problems = tuple(problems)


class DataError(HoldfastError):
    """A data set or picture is missing, corrupt, empty or inconsistent."""


class ModelError(HoldfastError):
    """A model cannot be loaded, or answers with the wrong shape or with NaN."""


class RunError(HoldfastError):
    """A run folder cannot be written, read, resumed or merged."""


class FailedElsewhere(RunError):
    """Another of several processes failed, and has told why; `usage` says whether by an `OptionError`."""

    def __init__(self, text: str, *, usage: bool = False) -> None:
        super().__init__(text)
        self.usage = usage


class BelowTheGate(HoldfastError):
    """A robust accuracy that was asked for is not shown by the evaluation."""


class BudgetError(HoldfastError):
    """More passes or queries were asked for than the budget allows."""


class AttackError(HoldfastError):
    """An attack from elsewhere failed, or returned what cannot be pictures."""


class AttackDidNothing(HoldfastError):
    """An attack returned every picture unchanged, or never took the gradient it lives on."""


def unknown(kind: str, given: str, known: Iterable[str]) -> OptionError:
    """An `OptionError` for an unknown name that lists the nearest and all known ones.

    Args: `kind` what is named, e.g. "attack"; `given` the name; `known` the allowed names.
    """
    names = sorted(known)
    if not names:
        return OptionError(f"unknown {kind} {given!r}; there is none. Leave it out.")
    near = get_close_matches(given, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return OptionError(f"unknown {kind} {given!r}; known: {', '.join(names)}.{hint}")

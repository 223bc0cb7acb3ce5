"""Every way a command can end, told in one line and with the right exit code."""

import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from typer.core import TyperGroup

from holdfast import ranks
from holdfast.cli.screen import stop_logging
from holdfast.errors import FailedElsewhere, HoldfastError, OptionError, OptionErrors

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Interrupted(Exception):
    """Ctrl-C in a run that can go on; its text says how."""


class Told(Exception):
    """A failure that was told already; `args` is its exit code."""


@contextmanager
def resumable() -> Iterator[None]:
    """Turn Ctrl-C into the line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        words = ["holdfast", *sys.argv[1:]]
        again = shlex.join(words if "--resume" in words else [*words, "--resume"])
        several = "the same command and --resume" if ranks.size() > 1 else None
        raise Interrupted(f"interrupted; go on with: {several or again}") from error


@contextmanager
def told_once(fails_first: Callable[[], bool]) -> Iterator[None]:
    """Of several processes that fail, only the first tells why, and before any other one ends."""
    try:
        yield
    except Exception as error:
        if fails_first():
            tell_why(error)
        raise Told(code_of(error)) from error


class Group(TyperGroup):
    """The commands, with holdfast's own errors and exit codes instead of Typer's."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and leave with its exit code."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            if code == INTERRUPTED and not ranks.rank():
                tell("interrupted")
            sys.stdout.flush()
        except Exception as error:
            leave(error)
        finally:
            stop_logging()
        sys.exit(code if isinstance(code, int) else 0)


def leave(error: Exception) -> NoReturn:
    """Say what went wrong in one line, and exit."""
    if not isinstance(error, Told):
        tell_why(error)
    sys.exit(code_of(error))


def code_of(error: Exception) -> int:
    """The exit code for an error."""
    if isinstance(error, Told):
        return int(error.args[0])
    if isinstance(error, Interrupted):
        return INTERRUPTED
    usage = isinstance(error, OptionError) or hasattr(error, "format_message") or getattr(error, "usage", False)
    return USAGE if usage else FAILED


def tell_why(error: Exception) -> None:
    """Say what went wrong in one line, unless another process does."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output has left, as `head` does. Nothing may be written to it any more, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if isinstance(error, FailedElsewhere) or (ranks.rank() and hasattr(error, "format_message")):
        return
    if isinstance(error, Interrupted):
        tell(str(error))
        return
    told, here = message(error), f"{ranks.named()}: " if ranks.rank() else ""
    if told is None:
        traceback.print_exception(error)
        tell(
            f"error: {here}this was not foreseen. Unless one of the lines above is in a file of your own, it is a "
            "fault of holdfast: please report it with them."
        )
    elif told:
        tell(told.replace("error: ", f"error: {here}", 1))


def message(error: Exception) -> str | None:
    """The line for an error that is the input's or the machine's; None for a bug."""
    if hasattr(error, "format_message"):  # Typer's own, of a command line that it cannot read
        return usage(error)
    if isinstance(error, OptionErrors):
        return f"error: {error}"
    if isinstance(error, HoldfastError):
        return f"error: {one_line(error)}"
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {error.filename!r}" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "Free some space" if full else "Check the path and its rights"
        begun = "; a run that began goes on with --resume" if "--out" in sys.argv else ""
        return f"error: {error.strerror}{where}. {mend}, then run again{begun}."
    if isinstance(error, MemoryError) or ("memory" in str(error) and "alloc" in str(error).lower()):
        return f"error: not enough memory: {one_line(error)[:160]}. Try a smaller --batch, or --limit."
    return None


def usage(error: Any) -> str:
    """Typer's complaint and where the help is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    text = one_line(error.format_message())
    context = getattr(error, "ctx", None)
    return f"error: {text}{'' if text.endswith(('.', '?', ')')) else '.'}" + (
        f" See `{context.command_path} --help`." if context is not None else ""
    )


def one_line(text: object) -> str:
    """Without line breaks."""
    return " ".join(str(text).split())


def tell(text: str) -> None:
    """One line to stderr, whatever has become of it."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

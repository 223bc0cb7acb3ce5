"""A command that several processes carry out together, launched by `torchrun`."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from holdfast import ranks
from holdfast.cli import common
from holdfast.cli.group import told_once

P = ParamSpec("P")


def together(command: Callable[P, None]) -> Callable[P, None]:
    """Join the processes around a command with the option `device`, of which each gets its own.

    They begin and end together, with one exit code; a failure is told by one of them.
    """

    @wraps(command)
    def run(*args: P.args, **given: P.kwargs) -> None:
        if ranks.size() == 1:
            return command(*args, **given)
        from holdfast import processes

        device = processes.placed(common.device_of(str(given["device"])))
        given["device"] = str(device)
        with processes.joined(device) as here, told_once(here.fails_first):
            command(*args, **given)
        return None

    return run

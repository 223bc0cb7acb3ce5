"""`holdfast merge`: the parts of a run, made by several processes or machines, become one."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import flags
from holdfast.cli.evaluate import told
from holdfast.cli.screen import Screen


def command(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="Folders of all parts that `evaluate --shard` wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder for the whole run.")],
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write RUN/report.html.")] = True,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Join the parts of a run; the result is what one process would have written."""
    from holdfast.evaluate import merge
    from holdfast.report import write

    screen = Screen(plain=json, quiet=quiet)
    found = merge(parts, out)
    told(screen, found, page=write([out]) if report else None)

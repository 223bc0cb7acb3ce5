"""`holdfast merge`: the parts of a run, made by several processes or machines, become one."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import flags, given
from holdfast.cli.evaluate import judged
from holdfast.cli.screen import Screen


def command(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="Folders of all parts that `evaluate --shard` wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder for the whole run.")],
    at_least: flags.AtLeast = None,
    junit: flags.JUnit = None,
    report: flags.Report = True,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Join the parts of a run; the result is what one process would have written."""
    from holdfast.evaluate import Gate, merge
    from holdfast.evaluate.run_folder import RUN, read_json

    screen = Screen(plain=json, quiet=quiet)
    least = given.gate(at_least, None)
    found = merge(parts, out)
    options = (read_json(out / RUN) or {})["options"]
    gate = None if least is None else Gate(least, checked=bool(options["checks"]))
    judged(screen, found, gate, page=report, junit=junit)

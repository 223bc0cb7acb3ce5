"""`holdfast report`: the page of one run, or of several of a kind side by side."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import flags
from holdfast.cli.screen import Screen


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `evaluate` wrote, or `train`.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The page; by default RUN/report.html, or report.html beside several runs.",
        ),
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Write one HTML page about an evaluation or a training, or about several of a kind side by side."""
    from holdfast.report import write

    page = write(runs, out)
    screen = Screen(plain=json, quiet=quiet)
    screen.result({"report": str(page), "runs": [str(run) for run in runs]}, f"report: {page}")

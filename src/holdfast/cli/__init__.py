"""The command line: one sub-command a file, each a thin wrapper over a public function.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
What a command needs is imported when it runs, so that help and errors come at once.
"""

import os
import sys

import typer

from holdfast.cli import (
    attack,
    calibrate,
    corrupt,
    data,
    demo,
    detect,
    doctor,
    ensemble,
    evaluate,
    export,
    listing,
    merge,
    ood,
    report,
    reproduce,
    substitute,
    train,
    transfer,
    universal,
)
from holdfast.cli.group import Group

__all__ = ["app", "main"]

app = typer.Typer(
    name="holdfast",
    help="How an image classifier fails, how to make it hold, and the evidence.",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from holdfast import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def start(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and leave."
    ),
) -> None:
    """How an image classifier fails, how to make it hold, and the evidence."""


app.command("demo")(demo.command)
app.command("train")(train.command)
app.command("ensemble")(ensemble.command)
app.command("evaluate")(evaluate.command)
app.command("calibrate")(calibrate.command)
app.command("attack")(attack.command)
app.command("ood")(ood.command)
app.add_typer(detect.app, name="detect")
app.command("transfer")(transfer.command)
app.command("substitute")(substitute.command)
app.command("universal")(universal.command)
app.command("corrupt")(corrupt.command)
app.command("report")(report.command)
app.command("reproduce")(reproduce.command)
app.command("export")(export.command)
app.command("merge")(merge.command)
app.command("list")(listing.command)
app.add_typer(data.app, name="data")
app.command("doctor")(doctor.command)


def main() -> None:
    """Run the command line; the entry point `holdfast`."""
    # Threads that wait spin by default, so that two processes on the same cores take them from each other. Must be
    # said before torch is loaded, which commands do themselves.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except KeyboardInterrupt:  # before a command began
        sys.exit(130)

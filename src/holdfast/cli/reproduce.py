"""`holdfast reproduce`: a source's table with the published figures beside ours."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.group import resumable
from holdfast.cli.screen import Screen, duration, table

if TYPE_CHECKING:
    from holdfast.reproduce import Column, Reproduced, Row


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one; see `holdfast list reproductions`.")],
    preset: flags.Preset = "small",
    seeds: flags.Seeds = None,
    data_dir: flags.DataDir = None,
    device: flags.Device = "auto",
    out: flags.Out = None,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Do what a source did, and print its table with the published figures beside ours.

    Ends with what the source says of orders and signs, held or not. Writes a folder with all that was trained,
    result.json and report.html; finished parts are kept when the same is resumed.
    """
    from holdfast.errors import unknown
    from holdfast.reproduce import REPRODUCTIONS, reproduce
    from holdfast.reproduce.run import ASKED

    if name not in REPRODUCTIONS:
        raise unknown("reproduction", name, REPRODUCTIONS)
    REPRODUCTIONS[name].settings(preset)  # an unknown one is told before anything else is done
    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    folder = out or given.run_name("reproduce", name, preset)
    common.note_beginning(screen, folder / ASKED, resume=resume)
    with screen.progress("steps") as bar, resumable():
        done = reproduce(
            REPRODUCTIONS[name],
            out=folder,
            preset=preset,
            seeds=None if seeds is None else given.seeds(seeds),
            data_dir=data_dir,
            device=str(common.device_of(device)),
            resume=resume,
            command=["holdfast", *sys.argv[1:]],
            progress=bar.update,
            note=screen.note,
        )
    screen.result(done.to_plain(), *shown(done))


def shown(done: "Reproduced") -> list[Any]:
    """For people: the table, the orderings, where it lies."""
    from holdfast.reproduce.run import PAGE
    from holdfast.reproduce.words import VERDICTS, judged_by, tally

    lines: list[Any] = [f"{done.of.title} ({done.of.source})", f"note: {done.of.notice(done.preset)}"]
    for group, columns, rows in done.table.groups():
        lines += ["", *([f"{group}:"] if group else []), beside(done.of.stands_for, columns, rows)]
    lines += ["", f"what the source says of orders and signs: {tally(done.table.orderings)}"]
    for ordering in done.table.orderings:
        lines.append(f"  {VERDICTS[ordering.held]}: {ordering.sentence} [{judged_by(ordering)}]")
    lines += [f"note: {text}" for text in done.table.notes]
    return [*lines, "", f"done in {duration(done.seconds)}; report: {done.folder / PAGE}"]


def beside(stands_for: str, columns: "list[Column]", rows: "list[Row]") -> Any:
    """Two columns for each of the table's: theirs and ours."""
    from holdfast.reproduce.words import NONE, figure, spread

    heads = ["row"]
    for column in columns:
        heads += [f"{column.name}:\n{stands_for}", "\nours"]
    cells = []
    for row in rows:
        line = [row.name]
        for column in columns:
            ours = row.ours.get(column.name)
            text = NONE if ours is None else f"{figure(ours.mean, column)} {spread(ours, column)}".strip()
            line += [figure(row.published.get(column.name), column), text]
        cells.append(line)
    return table(heads, cells, right=range(1, len(heads)))

"""`holdfast corrupt`: pictures as cameras, weather and codecs spoil them, written to disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen, table

if TYPE_CHECKING:
    from holdfast.corrupt import Corruption, Table
    from holdfast.data import Pictures


def command(
    data: flags.Data,
    out: Annotated[Path, flags.of_run("--out", "-o", metavar="FOLDER", help="A new folder.")],
    corruption: Annotated[
        list[str] | None,
        flags.of_pictures(
            "--corruption",
            "-c",
            metavar="NAME[:OPTION=VALUE,...]",
            help="Such as fog, or fog,jpeg; may be repeated; by default all that the pictures can have. See `holdfast "
            "list corruptions`.",
        ),
    ] = None,
    severity: Annotated[
        str,
        flags.of_pictures("--severity", metavar="N,N,...", help="From 1, slight, to 5, heavy."),
    ] = "1,2,3,4,5",
    severities_of: Annotated[
        str,
        flags.of_pictures(
            "--table",
            metavar="auto|small|imagenet",
            help="Whose severities: those of CIFAR-10-C, of ImageNet-C, or by the pictures' size.",
        ),
    ] = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    device: flags.Device = "auto",
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Write corrupted pictures as arrays of bytes, one a corruption and severity, with settings and SHA-256 of each.

    A set made once can be handed on, so that others evaluate the same bits. Interrupted, it goes on with --resume.
    """
    from holdfast.corrupt import stored

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    levels = severities(severity)
    wanted = None if corruption is None else chosen(corruption)
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    common.note_beginning(screen, out / stored.ABOUT, resume=resume)
    with screen.progress() as bar:
        made = stored.write(
            pictures,
            out,
            all_fitting(pictures) if wanted is None else wanted,
            levels,
            seed=seed,
            table=table_named(severities_of),
            batch=batch,
            device=common.device_of(device),
            resume=resume,
            progress=bar.update,
        )
    rows = [(name, digest) for name, digest in made.files.items()]
    screen.result(
        {"folder": str(out), **made.settings},
        f"{len(pictures):,} pictures of {pictures.name}, severities of the {made.settings['table']} table, in {out}",
        "",
        table(("file", "SHA-256"), rows),
    )


def severities(text: str) -> tuple[int, ...]:
    """ "1,3,5" as whole numbers. Raises: `OptionError` for another form, or a number outside 1 to 5."""
    from holdfast.corrupt.corruption import check_severity
    from holdfast.errors import OptionError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.lstrip("-").isdecimal() for part in parts):
        raise OptionError(
            f"--severity {text!r}; allowed: whole numbers from 1 to 5 with commas between, such as 1,3,5."
        )
    for part in parts:
        check_severity(int(part))
    return tuple(map(int, parts))


def apart(texts: Sequence[str]) -> list[str]:
    """ "fog,glass-blur:shuffle=swap,frost" as three: after a comma stands a name, or another option of the last one."""
    found: list[str] = []
    for text in texts:
        for number, part in enumerate(given.listed(text)):
            if number and "=" in part and ":" not in part:
                found[-1] += f",{part.strip()}"
            else:
                found.append(part.strip())
    return found


def chosen(texts: Sequence[str]) -> "list[Corruption]":
    """Corruptions with their options, such as "glass-blur:shuffle=swap", also several with commas between."""
    from holdfast.corrupt import build

    found = []
    for text in apart(texts):
        options = given.named(text, "--corruption")
        found.append(build(str(options.pop("name")), options))
    return found


def all_fitting(pictures: "Pictures") -> "list[Corruption]":
    """All corruptions that the pictures can have."""
    from holdfast.corrupt import build, fitting

    return [build(name) for name in fitting(pictures.shape[0])]


def table_named(text: str) -> "Table":
    """Whose severities. Raises: `OptionError` for another word."""
    from holdfast.errors import unknown

    for known in ("auto", "small", "imagenet"):
        if text == known:
            return known
    raise unknown("table of severities", text, ("auto", "small", "imagenet"))

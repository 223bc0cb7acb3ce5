"""`holdfast data`: which sets are here, fetch one, look at one."""

from typing import Annotated

import typer

from holdfast.cli import common, flags
from holdfast.cli.screen import Screen, table

app = typer.Typer(help="Which data sets are here; fetch one; look at one.", no_args_is_help=True)


@app.command()
def status(data_dir: flags.DataDir = None, json: flags.Json = False, quiet: flags.Quiet = False) -> None:
    """Show which data sets were found, and where."""
    from holdfast.data import status as find_all

    known = find_all(data_dir)
    plain = {
        one.name: {
            "title": one.title,
            "path": str(one.path) if one.path else None,
            "splits": dict(one.splits),
            "how": one.how,
        }
        for one in known
    }
    rows = [
        (one.name, ", ".join(f"{n:,} {split}" for split, n in one.splits.items()) or "-", one.path or one.how)
        for one in known
    ]
    Screen(plain=json, quiet=quiet).result(plain, table(("data set", "pictures", "found in"), rows))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set; see `holdfast data status`.")],
    data_dir: flags.DataDir = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Fetch a data set from its publisher if it is not here, and verify it in any case."""
    from holdfast.data import SETS, find
    from holdfast.errors import unknown

    screen = Screen(plain=json, quiet=quiet)
    if name not in SETS:
        raise unknown("data set", name, SETS)
    counts = {
        part: len(common.pictures_of(screen, name, part, data_dir=data_dir)) for part in ("train", "validation", "test")
    }
    place = find(name, data_dir)
    shown = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    screen.result({"name": name, "path": str(place), "splits": counts}, f"{name}: {shown}, verified, in {place}")


@app.command()
def show(
    data: Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="A data set, or a folder of pictures.")],
    split: flags.Split = "test",
    data_dir: flags.DataDir = None,
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Count the pictures of a split, class by class."""
    screen = Screen(plain=json, quiet=quiet)
    found = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    counts = dict(zip(found.classes, found.labels.bincount(minlength=len(found.classes)).tolist()))
    channels, height, width = found.shape
    plain = {
        "name": found.name,
        "split": split,
        "n": len(found),
        "shape": list(found.shape),
        "classes": counts,
        "skipped": list(found.skipped),
        "notes": list(found.notes),
        "sha256": found.sha256(),
    }
    head = f"{found.name}, {split}: {len(found):,} pictures of {height}x{width}, {channels} channels"
    screen.result(plain, head, "", table(("class", "pictures"), list(counts.items()), right=(1,)))

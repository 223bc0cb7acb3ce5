"""`holdfast ensemble`: trained models as one that every `--model` takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen
from holdfast.errors import OptionError, unknown

if TYPE_CHECKING:
    from torch import nn

    from holdfast.models import Card
    from holdfast.train import Trained

WAYS = ("mean", "stacking", "dropout")


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `train` wrote.")],
    by: Annotated[
        str,
        flags.of_model(
            "--by",
            metavar="mean|stacking|dropout",
            help="mean: of probabilities; stacking: a linear combiner fitted on --data; dropout: one model, asked "
            "several times with different dropout masks.",
        ),
    ] = "mean",
    passes: Annotated[int, flags.of_model("--passes", metavar="N", help="Of --by dropout.")] = 20,
    data: Annotated[
        str | None,
        flags.of_pictures("--data", "-d", metavar="NAME|FOLDER", help="Whose validation split stacking is fitted on."),
    ] = None,
    data_dir: flags.DataDir = None,
    resize: flags.Resize = None,
    seed: Annotated[int, flags.of_run("--seed", help="Of the dropout masks.")] = 0,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Join trained models into one, which is attacked, evaluated and judged as any other.

    `train --members N` trains and joins them in one go.
    """
    from holdfast.cli.pictures import new_folder
    from holdfast.models import MonteCarloDropoutOf, join, load, save
    from holdfast.train import join_runs

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    if by not in WAYS:
        raise unknown("way of joining", by, WAYS)
    if (by == "dropout") != (len(runs) == 1):
        wanted = "one run" if by == "dropout" else "two or more, or one with --by dropout"
        raise OptionError(f"--by {by} with {len(runs)} run{'s'[: len(runs) != 1]}; allowed: {wanted}.")
    if (by == "stacking") != (data is not None):
        raise OptionError(f"--by {by} {'without' if data is None else 'with'} --data; allowed: stacking, with --data.")
    if len({run.resolve() for run in runs}) < len(runs):
        raise OptionError(
            f"{' '.join(map(str, runs))}: the same run twice; allowed: each once, since one model has one answer."
        )
    folder = new_folder(out or given.run_name("ensemble", by, *(run.name for run in runs)))
    members = [load(run) for run in runs]
    if by == "dropout":
        made = join(members, by=MonteCarloDropoutOf, made=by, options={"passes": passes, "seed": seed})
    else:
        held_out = None
        if data is not None:
            held_out = common.pictures_of(screen, data, "validation", data_dir=data_dir, resize=resize)
        made = join_runs(members, by=by, validation=held_out)
    card = save(folder, *made)
    show(screen, folder, made[0], card)


def show(screen: Screen, folder: Path, model: "nn.Module", card: "Card", *more: str, **plain: Any) -> None:
    """What came of it: where it lies, and what an answer costs."""
    from holdfast.models import Committee
    from holdfast.options import to_plain

    cost = model.cost if isinstance(model, Committee) else 1
    screen.result(
        {"run": str(folder), "cost": cost, **plain, "card": to_plain(card)},
        *more,
        f"{card.architecture} of {len(card.options['members'])}: each answer costs {cost} passes of a single model",
        f"model: {folder}",
    )


def told(trained: "tuple[Trained, ...]") -> tuple[list[str], list[Any]]:
    """The members' scores, for people and for --json."""
    lines, plain = [], []
    for number, one in enumerate(trained):
        last = one.history[-1]
        held = None if last.validation is None else last.validation
        said = "" if held is None else f": {held.k} of {held.n} right ({common.percent(held.rate)}) in validation"
        lines.append(f"member {number}{said}")
        plain.append({"run": str(one.folder), "history": [epoch.plain() for epoch in one.history]})
    return lines, plain

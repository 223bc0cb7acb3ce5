"""`holdfast substitute`: a model of one's own, trained on what another one says."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags, given
from holdfast.cli.group import resumable
from holdfast.cli.screen import Screen, duration
from holdfast.cli.trained import epoch_line
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.extract import Substitute


def command(
    victim: Annotated[
        str,
        flags.of_model(
            "--victim", metavar="RUN|FILE.py:FACTORY", help="The model whose labels are taken, and nothing else."
        ),
    ],
    data: flags.Data,
    model: Annotated[
        str,
        flags.of_model(
            "--model", "-m", metavar="NAME", help="An architecture for the substitute; see `holdfast list models`."
        ),
    ],
    data_dir: flags.DataDir = None,
    split: flags.Split = "train",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    held_out: Annotated[
        str | None,
        flags.of_pictures(
            "--held-out",
            metavar="train|validation|test",
            help="On which part the two are compared; `none` asks the victim for no more labels.",
        ),
    ] = "validation",
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    rounds: Annotated[
        int,
        flags.of_training("--rounds", help="Times the pictures are doubled where answers change most."),
    ] = 0,
    step: Annotated[
        float,
        flags.of_training("--step", help="How far each value of such a picture moves."),
    ] = 0.1,
    epochs: flags.Epochs = None,
    train_set: flags.TrainSet = None,
    seed: flags.Seed = 0,
    out: flags.Out = None,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a substitute on the labels that a victim gives, to make pictures on it that fool the victim too.

    Writes a folder that `--source` and `--model` take; its card says how often the two agree.
    """
    from holdfast.extract import substitute
    from holdfast.extract.substitute import Augmentation
    from holdfast.models.guarded import refused_class
    from holdfast.options import parse
    from holdfast.train import Recipe, TrainOptions, card_for
    from holdfast.train.folder import ABOUT

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    options = parse(TrainOptions, given.merged(train_set, "--train-set", epochs=("--epochs", epochs)))
    augmentation = Augmentation(rounds=rounds, step=step)
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    compared = None
    if held_out not in (None, "none"):
        compared = common.pictures_of(screen, data, str(held_out), data_dir=data_dir, resize=resize)
    card = card_for(model, pictures, given.pairs(model_set, "--model-set"))
    opened = common.twin_of(victim, pictures, device, "--victim")
    if refused_class(opened) is not None:
        raise OptionError(
            f"--victim {victim} is guarded by a detector; allowed: its classifier alone, in the folder classifier/ of "
            "a guarded one."
        )
    folder = out or given.run_name("substitute", model, data, f"of-{given.run_name(victim).name}")
    common.note_beginning(screen, folder / ABOUT, resume=resume)
    with screen.progress() as bar, resumable():
        found = substitute(
            opened,
            card,
            pictures,
            recipe=Recipe(options=options),
            augmentation=augmentation,
            held_out=compared,
            name=victim,
            seed=seed,
            device=common.device_of(device),
            out=folder,
            resume=resume,
            command=["holdfast", *sys.argv[1:]],
            progress=bar.update,
            on_epoch=lambda epoch: screen.note(epoch_line(epoch, options.epochs)),
        )
    screen.result(plain(found), *shown(found, victim, data))


def plain(found: "Substitute") -> dict[str, Any]:
    """For --json."""
    from holdfast.evaluate import Rate
    from holdfast.options import to_plain

    rates = ("agreement", "accuracy", "victim_accuracy")
    return {
        "run": str(found.trained.folder),
        "queries": found.queries,
        "asked_to_compare": found.asked_to_compare,
        **{name: None if (count := getattr(found, name)) is None else Rate(*count).to_plain() for name in rates},
        "seconds": found.trained.seconds,
        "card": to_plain(found.trained.card),
    }


def shown(found: "Substitute", victim: str, data: str) -> list[str]:
    """For people."""
    folder = found.trained.folder
    lines = [f"trained on {found.queries:,} labels of {victim} in {duration(found.trained.seconds)}"]
    for name, count in (
        ("agrees with it on", found.agreement),
        ("right on", found.accuracy),
        ("the victim is right on", found.victim_accuracy),
    ):
        if count is not None:
            lines.append(f"{name} {count.k} of {count.n} held-out pictures ({common.percent(count.rate)})")
    return [
        *lines,
        f"model: {folder}",
        f"next: holdfast evaluate --model {shlex.quote(victim)} --data {shlex.quote(data)} --eps 8/255 "
        f"--attack mi-fgsm --source {shlex.quote(str(folder))}",
    ]

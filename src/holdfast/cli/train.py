"""`holdfast train`: a classifier, ordinary or hardened by adversarial training."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.group import resumable
from holdfast.cli.planned import plan_of, run_name, start_of, told
from holdfast.cli.screen import Screen
from holdfast.cli.together import together
from holdfast.cli.trained import plain, shown, tell
from holdfast.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from holdfast.data import Pictures
    from holdfast.models import Card
    from holdfast.train import Members, Plan


@together
def command(
    recipe_file: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE.toml", help="A recipe: data, model and all that training does."),
    ] = None,
    recipe: flags.RecipeName = None,
    data: flags.RecipeData = None,
    model: flags.RecipeModel = None,
    data_dir: flags.DataDir = None,
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    validation: Annotated[
        bool | None,
        flags.of_pictures(
            "--validation/--no-validation", help="Score the validation split after each epoch, as is usual."
        ),
    ] = None,
    model_set: flags.ModelSet = None,
    normalize: Annotated[
        bool | None,
        flags.of_model(
            "--normalize/--no-normalize",
            help="Put the training pictures' mean and standard deviation inside the model, as is usual.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        flags.of_model(
            "--from", metavar="RUN", help="Begin with the weights of this run, whose architecture it must be."
        ),
    ] = None,
    device: flags.Device = "auto",
    epochs: flags.Epochs = None,
    batch: Annotated[int | None, flags.of_training("--batch", help="Pictures a step.")] = None,
    learning_rate: Annotated[
        float | None, flags.of_training("--learning-rate", "--lr", help="Largest step size.")
    ] = None,
    train_set: flags.TrainSet = None,
    loss: flags.Loss = None,
    augment: flags.Augment = None,
    mixup: flags.Mixup = None,
    penalty: flags.TrainPenalty = None,
    adversarial: flags.Adversarial = None,
    method: flags.Method = None,
    awp: flags.Awp = None,
    threat: flags.RecipeThreat = None,
    threat_set: flags.ThreatSet = None,
    eps: flags.RecipeEps = None,
    low: flags.RecipeLow = None,
    high: flags.RecipeHigh = None,
    attack_set: flags.Set = None,
    seed: flags.RecipeSeed = None,
    members: Annotated[
        int | None,
        flags.of_training("--members", min=2, metavar="N", help="Train so many models and join them into one."),
    ] = None,
    members_by: Annotated[
        str,
        flags.of_training(
            "--members-by",
            metavar="seeds|bagging|stacking|snapshots",
            help="How members differ: by their seeds; also by pictures drawn anew; as seeds, with a combiner fitted on "
            "the validation split; or cycles of one training.",
        ),
    ] = "seeds",
    log: Annotated[
        list[str] | None,
        flags.of_run(
            "--log", metavar="tensorboard|mlflow", help="Tell the figures of each epoch there too; may be repeated."
        ),
    ] = None,
    report: flags.Report = True,
    out: flags.Out = None,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a classifier by a recipe, by flags, or by a recipe with flags laid over it.

    Writes a folder with the model that `evaluate --model` takes. Interrupted, it goes on with --resume.
    """
    from holdfast.options import parse
    from holdfast.report import write
    from holdfast.train import Members, logger, train
    from holdfast.train.folder import ABOUT

    if members_by != "seeds" and members is None:
        raise OptionError(f"--members-by {members_by} without --members; allowed: with it. Add --members 5.")
    if members is not None and log:
        raise OptionError(f"--log {log[0]} with --members; allowed: for one model. Leave it out.")
    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    over = {
        "data": told(name=data, limit=limit, resize=resize, validation=validation),
        "model": given.merged(
            model_set,
            "--model-set",
            name=("--model", model),
            normalize=("--normalize", normalize),
            start=("--from", start),
        ),
        "train": given.merged(
            train_set,
            "--train-set",
            epochs=("--epochs", epochs),
            batch=("--batch", batch),
            learning_rate=("--learning-rate", learning_rate),
        ),
        "loss": given.named(loss, "--loss") if loss else {},
        "augment": [given.named(text, "--augment") for text in augment or ()],
        "mixup": given.pairs(given.listed(mixup), "--mixup") if mixup else {},
        "penalties": [given.named(text, "--penalty") for text in penalty or ()],
        "adversary": {
            "attack": given.merged(attack_set, "--set", name=("--adversarial", adversarial)),
            "threat": given.merged(
                threat_set,
                "--threat-set",
                name=("--threat", threat),
                eps=("--eps", eps),
                low=("--low", low),
                high=("--high", high),
            ),
            "method": given.named(method, "--method") if method else {},
        },
        "awp": given.pairs(given.listed(awp), "--awp") if awp else {},
        "seed": seed,
    }
    planned = plan_of(recipe_file, recipe, over)
    where, chosen = common.device_of(device), planned.data
    resized = None if chosen.resize is None else str(chosen.resize)
    load = partial(common.pictures_of, screen, str(chosen.name), data_dir=data_dir, resize=resized)
    pictures = load("train", limit=chosen.limit)
    held_out = load("validation") if chosen.validation else None
    folder = out or run_name(planned, recipe_file, recipe)
    card, weights = start_of(planned, pictures)
    if members is not None:
        ensemble(
            parse(Members, {"count": members, "by": members_by}),
            Job(screen, planned, card, weights, pictures, held_out, where, folder, resume, report),
        )
        return
    common.note_beginning(screen, folder / ABOUT, resume=resume)
    with screen.progress() as bar, resumable():
        done = train(
            card,
            pictures,
            weights=weights,
            recipe=planned.recipe,
            validation=held_out,
            seed=planned.seed,
            device=where,
            out=folder,
            resume=resume,
            loggers=[logger(name, folder) for name in log or ()],
            command=["holdfast", *sys.argv[1:]],
            progress=lambda done, total: bar.update(done, total, "training"),
            on_epoch=lambda epoch: tell(screen, epoch, planned.recipe.options.epochs),
        )
    page = write([folder]) if report and screen.shown else None  # the first of several processes writes
    screen.result(plain(done, planned, page), *shown(done, planned, data_dir, page, resume=resume))


@dataclass(frozen=True, eq=False)
class Job:
    """What a training has been given, whether of one model or of several."""

    screen: Screen
    planned: "Plan"
    card: "Card"
    weights: "Mapping[str, Tensor] | None"
    pictures: "Pictures"
    held_out: "Pictures | None"
    device: "torch.device"
    folder: Path
    resume: bool
    report: bool


def ensemble(members: "Members", job: Job) -> None:
    """Train several models and join them; the page shows them side by side."""
    from holdfast.cli import ensemble as joining
    from holdfast.report import write
    from holdfast.train import train_ensemble
    from holdfast.train.ensembles import ABOUT

    screen, recipe = job.screen, job.planned.recipe
    common.note_beginning(screen, job.folder / ABOUT, resume=job.resume)
    epochs = members.recipe(recipe).options.epochs
    with screen.progress() as bar, resumable():
        model, card, trained = train_ensemble(
            job.card,
            job.pictures,
            members,
            recipe=recipe,
            weights=job.weights,
            validation=job.held_out,
            seed=job.planned.seed,
            device=job.device,
            out=job.folder,
            resume=job.resume,
            command=["holdfast", *sys.argv[1:]],
            progress=lambda done, total: bar.update(done, total, "training"),
            on_epoch=lambda number, epoch: tell(screen, epoch, epochs, f"member {number}, "),
        )
    page = None
    if job.report and screen.shown:
        runs = [job.folder / f"member-{number}" for number in range(members.count)]
        page = write(runs, job.folder / "report.html")
    lines, each = joining.told(trained)
    lines += [] if page is None else [f"report: {page}"]
    joining.show(screen, job.folder, model, card, *lines, report=None if page is None else str(page), members=each)

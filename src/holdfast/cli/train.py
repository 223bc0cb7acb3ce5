"""`holdfast train`: a classifier, ordinary or hardened by adversarial training."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.group import resumable
from holdfast.cli.screen import Screen, duration
from holdfast.cli.together import together
from holdfast.errors import OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from holdfast.data import Pictures
    from holdfast.models import Card
    from holdfast.threats import AnyThreat
    from holdfast.train import Epoch, Members, Plan, Trained


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
        trained = train(
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
    screen.result(_plain(trained, planned, page), *_shown(trained, planned, data_dir, page, resume=resume))


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
    each = members.recipe(recipe).options.epochs
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
            on_epoch=lambda number, epoch: tell(screen, epoch, each, f"member {number}, "),
        )
    page = None
    if job.report and screen.shown:
        runs = [job.folder / f"member-{number}" for number in range(members.count)]
        page = write(runs, job.folder / "report.html")
    lines, plain = joining.told(trained)
    lines += [] if page is None else [f"report: {page}"]
    joining.show(screen, job.folder, model, card, *lines, report=None if page is None else str(page), members=plain)


def told(**values: object) -> dict[str, object]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}


def plan_of(file: Path | None, recipe: str | None, over: Mapping[str, Any]) -> "Plan":
    """The recipe of a file, or of that name, or none, with the flags laid over it.

    Raises: `OptionError` with all that is wrong with it; also where data or model are named nowhere.
    """
    from holdfast.train import file_text, read_recipe, recipe_text

    if file is not None and recipe is not None:
        raise OptionError(f"recipe file {str(file)!r} and --recipe {recipe}; allowed: one of the two.")
    text = "" if file is None and recipe is None else file_text(file) if file else recipe_text(str(recipe))
    source = str(file or recipe or "flags")
    laid = without_empty(over)
    if not text:
        check_adversary(laid.get("adversary", {}))
    planned = read_recipe(text, source, laid)
    needed = {"--data": planned.data.name, "--model": planned.model.name}
    if lacking := [flag for flag, value in needed.items() if value is None]:
        what, names = (" and ".join(words) for words in ([flag[2:] for flag in lacking], lacking))
        raise OptionError(
            f"train: no {what} named; allowed: by {names}, or in a recipe. Add {' NAME '.join(lacking)} NAME, or take "
            "one of `holdfast list recipes`."
        )
    return planned


def without_empty(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables without those that hold nothing, so that they lay nothing over a recipe's."""
    kept = {name: without_empty(value) if isinstance(value, Mapping) else value for name, value in tables.items()}
    return {name: value for name, value in kept.items() if value not in (None, {}, [])}


def check_adversary(adversary: Mapping[str, Any]) -> None:
    """Say which flag is missing where one of adversarial training was given, and there is no recipe.

    Raises: `OptionError` for a flag that does nothing without --adversarial, and for that without --eps.
    """
    from holdfast.attacks.attack import minimal
    from holdfast.train import INNER

    attack, threat = adversary.get("attack", {}), adversary.get("threat", {})
    if adversary and "name" not in attack:
        boxed = {"--threat": "name", "--low": "low", "--high": "high"}
        given_with = {"--eps": "eps" in threat, "--set": attack, "--method": "method" in adversary}
        given_with |= {flag: name in threat for flag, name in boxed.items()}
        flag = next((name for name, there in given_with.items() if there), "--threat-set")
        raise OptionError(
            f"{flag} without --adversarial; allowed: with an attack to train against. Add --adversarial pgd."
        )
    if adversary and "eps" not in threat and not minimal(INNER.get(str(attack["name"]))):
        raise OptionError("--adversarial without --eps; allowed: with a radius in pixel units. Add --eps 8/255.")
    if "eps" in threat:
        given.number(str(threat["eps"]), "--eps")


def start_of(planned: "Plan", pictures: "Pictures") -> "tuple[Card, Mapping[str, Tensor] | None]":
    """What training starts from: a card that fits the pictures, and the weights of a run where one is named.

    That run's card says how the model is normalised, which is part of what its weights mean.
    """
    from holdfast.models import load
    from holdfast.train import card_for

    chosen = planned.model
    card = card_for(str(chosen.name), pictures, chosen.options, normalize=chosen.normalize)
    if chosen.start is None:
        return card, None
    begun, before = load(chosen.start)
    return replace(card, mean=before.mean, std=before.std), begun.state_dict()


def run_name(planned: "Plan", file: Path | None, recipe: str | None) -> Path:
    """Where the run goes that nobody named: after its recipe, or its model and data."""
    if recipe is not None or file is not None:
        return given.run_name(recipe or Path(str(file)).stem)
    adversary = planned.recipe.adversary
    hardened = f"{adversary.attack.name}-{adversary.threat.name}" if adversary else None
    return given.run_name(planned.model.name, planned.data.name, hardened)


def tell(screen: Screen, epoch: "Epoch", of: int, who: str = "") -> None:
    """One epoch as a line, and what went wrong in it as one line each."""
    screen.note(who + epoch_line(epoch, of))
    for note in epoch.notes:
        screen.note(f"warning: {note}")


def epoch_line(epoch: "Epoch", of: int) -> str:
    """One epoch as a line."""
    text = f"epoch {epoch.number} of {of}: loss {epoch.loss:.3f}, training {common.percent(epoch.train.rate)}"
    if epoch.validation is not None:
        text += f", validation {common.percent(epoch.validation.rate)}"
    if epoch.robust is not None:
        text += f", under attack {common.percent(epoch.robust.rate)}"
    return text


def _kept(trained: "Trained", planned: "Plan") -> "Epoch":
    """The epoch whose weights the model has."""
    from holdfast.train.history import best_of

    return best_of(trained.history, planned.recipe.options.watch)


def _plain(trained: "Trained", planned: "Plan", page: Path | None) -> dict[str, Any]:
    """For --json."""
    from holdfast.evaluate import Rate
    from holdfast.options import to_plain

    kept = _kept(trained, planned)
    rates = {
        name: None if count is None else Rate(*count).to_plain()
        for name, count in (("validation", kept.validation), ("robust", kept.robust))
    }
    return {
        "run": str(trained.folder),
        "report": None if page is None else str(page),
        **rates,
        "seconds": trained.seconds,
        "history": [epoch.plain() for epoch in trained.history],
        "card": to_plain(trained.card),
    }


def _threat_flags(threat: "AnyThreat") -> str:
    """What names the threat of training again."""
    from holdfast.options import to_plain
    from holdfast.threats import OWN, build

    usual = build(threat.name, eps=0.0)
    named = [] if threat.name == "linf" else ["--threat", threat.name]
    own = {name: value for name, value in to_plain(threat).items() if value != getattr(usual, name)}
    further = [
        word for name, value in own.items() if name not in OWN for word in ("--threat-set", f"{name}={written(value)}")
    ]
    box = [word for name in ("low", "high") if name in own for word in (f"--{name}", written(own[name]))]
    radius = f"{threat.eps:g}" if threat.eps else "0.1"  # 0 where training heeded none
    return shlex.join([*named, *further, *box, "--eps", radius])


def written(value: object) -> str:
    """A value as it is written on the command line."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _next(trained: "Trained", planned: "Plan", data_dir: Path | None) -> str:
    """The command that evaluates what was trained, on the same data and within the same threat."""
    words = ["holdfast", "evaluate", "--model", str(trained.folder), "--data", str(planned.data.name)]
    words += [] if data_dir is None else ["--data-dir", str(data_dir)]
    words += [] if planned.data.resize is None else ["--resize", str(planned.data.resize)]
    adversary = planned.recipe.adversary
    return f"{shlex.join(words)} {'--eps 8/255' if adversary is None else _threat_flags(adversary.threat)}"


def _shown(trained: "Trained", planned: "Plan", data_dir: Path | None, page: Path | None, *, resume: bool) -> list[str]:
    """For people."""
    from holdfast.report.words import plural

    kept, epochs = _kept(trained, planned), plural(len(trained.history), "epoch")
    took = f"; this call took {duration(trained.seconds)}" if resume else f" in {duration(trained.seconds)}"
    lines = [f"trained {planned.model.name} on {planned.data.name}: {epochs}{took}"]
    for name, count in (("validation", kept.validation), ("under attack", kept.robust)):
        if count is not None:
            lines.append(f"{name}: {count.k} of {count.n} right ({common.percent(count.rate)})")
    return [
        *lines,
        f"model: {trained.folder}",
        *([] if page is None else [f"report: {page}"]),
        f"next: {_next(trained, planned, data_dir)}",
    ]

"""`holdfast train`: a classifier, ordinary or hardened by adversarial training."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.group import resumable
from holdfast.cli.screen import Screen, duration
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.train import Adversary, Epoch, Trained


def command(
    data: flags.Data,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="An architecture; see `holdfast list models`.",
            rich_help_panel=flags.MODEL,
        ),
    ],
    data_dir: flags.DataDir = None,
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    validation: Annotated[
        bool,
        typer.Option(
            "--validation/--no-validation",
            help="Score the validation split after each epoch.",
            rich_help_panel=flags.PICTURES,
        ),
    ] = True,
    model_set: flags.ModelSet = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize/--no-normalize",
            help="Put the training pictures' mean and standard deviation inside the model.",
            rich_help_panel=flags.MODEL,
        ),
    ] = True,
    device: flags.Device = "auto",
    epochs: flags.Epochs = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Pictures a step.", rich_help_panel=flags.TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Largest step size.", rich_help_panel=flags.TRAINING)
    ] = None,
    train_set: flags.TrainSet = None,
    adversarial: Annotated[
        str | None,
        typer.Option(
            "--adversarial",
            metavar="ATTACK",
            help="Train on what this attack makes of each batch; pgd then takes 7 steps of 0.25 eps, but for --set.",
            rich_help_panel=flags.ATTACK,
        ),
    ] = None,
    threat: flags.Threat = "linf",
    threat_set: flags.ThreatSet = None,
    eps: Annotated[
        str | None,
        typer.Option("--eps", metavar="NUMBER", help="Radius, such as 8/255.", rich_help_panel=flags.ATTACK),
    ] = None,
    low: flags.Low = 0.0,
    high: flags.High = 1.0,
    attack_set: flags.Set = None,
    seed: flags.Seed = 0,
    out: flags.Out = None,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Train a classifier: ordinarily, or hardened with --adversarial.

    Writes a folder with the model that `evaluate --model` takes. Interrupted, it goes on with --resume.
    """
    from holdfast.options import parse
    from holdfast.train import Recipe, TrainOptions, card_for, train

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    named = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate}
    options = parse(TrainOptions, merged(named, given.pairs(train_set, "--train-set")))
    box = {"low": low, "high": high, "options": given.pairs(threat_set, "--threat-set")}
    adversary = _adversary(adversarial, threat, eps, box, given.pairs(attack_set, "--set"))
    where = common.device_of(device)
    pictures = common.pictures_of(screen, data, "train", data_dir=data_dir, limit=limit, resize=resize)
    held_out = common.pictures_of(screen, data, "validation", data_dir=data_dir, resize=resize) if validation else None
    card = card_for(model, pictures, given.pairs(model_set, "--model-set"), normalize=normalize)
    hardened = f"{adversarial}-{threat}" if adversarial else None
    folder = out or given.run_name(model, data, hardened)
    with screen.progress() as bar, resumable():
        trained = train(
            card,
            pictures,
            recipe=Recipe(options=options, adversary=adversary),
            validation=held_out,
            seed=seed,
            device=where,
            out=folder,
            resume=resume,
            command=["holdfast", *sys.argv[1:]],
            progress=lambda done, total: bar.update(done, total, "training"),
            on_epoch=lambda epoch: screen.note(epoch_line(epoch, options.epochs)),
        )
    against = _flags(threat, threat_set, eps) if adversarial else "--eps 8/255"
    screen.result(_plain(trained), *_shown(trained, model, data, data_dir, against))


def merged(named: Mapping[str, object], options: Mapping[str, str]) -> dict[str, object]:
    """Options given by flags of their own and by name. Raises: `OptionError` for one given both ways."""
    flagged = {name: value for name, value in named.items() if value is not None}
    for name in flagged:
        if name in options:
            raise OptionError(
                f"{name} is given as --{name.replace('_', '-')} and in --train-set; allowed: one of the two."
            )
    return {**flagged, **options}


def _adversary(
    attack: str | None, threat: str, eps: str | None, box: Mapping[str, Any], options: Mapping[str, str]
) -> "Adversary | None":
    """Who is trained against; nobody without --adversarial."""
    from holdfast import threats
    from holdfast.train import Adversary, inner_attack

    if attack is None:
        if eps is not None or options or box["options"]:
            flag = "--eps" if eps is not None else "--set" if options else "--threat-set"
            raise OptionError(
                f"{flag} without --adversarial; allowed: with an attack to train against. Add --adversarial pgd."
            )
        return None
    made = inner_attack(attack, options)
    if eps is None:
        raise OptionError("--adversarial without --eps; allowed: with a radius in pixel units. Add --eps 8/255.")
    return Adversary(made, threats.build(threat, eps=given.number(eps, "--eps"), **box))


def epoch_line(epoch: "Epoch", of: int) -> str:
    """One epoch as a line."""
    text = f"epoch {epoch.number} of {of}: loss {epoch.loss:.3f}, training {common.percent(epoch.train.rate)}"
    if epoch.validation is not None:
        text += f", validation {common.percent(epoch.validation.rate)}"
    if epoch.robust is not None:
        text += f", under attack {common.percent(epoch.robust.rate)}"
    return text


def _plain(trained: "Trained") -> dict[str, Any]:
    """For --json."""
    from holdfast.evaluate import Rate
    from holdfast.options import to_plain

    last = trained.history[-1]
    rates = {
        name: None if count is None else Rate(*count).to_plain()
        for name, count in (("validation", last.validation), ("robust", last.robust))
    }
    return {
        "run": str(trained.folder),
        **rates,
        "seconds": trained.seconds,
        "history": [epoch.plain() for epoch in trained.history],
        "card": to_plain(trained.card),
    }


def _flags(threat: str, options: Sequence[str] | None, eps: str | None) -> str:
    """What names the threat of training again."""
    named = [] if threat == "linf" else ["--threat", threat]
    return shlex.join([*named, *(word for text in options or () for word in ("--threat-set", text)), "--eps", str(eps)])


def _shown(trained: "Trained", model: str, data: str, data_dir: Path | None, against: str) -> list[str]:
    """For people."""
    given_dir = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    from holdfast.report.words import plural

    last = trained.history[-1]
    lines = [f"trained {model} on {data}: {plural(len(trained.history), 'epoch')} in {duration(trained.seconds)}"]
    for name, count in (("validation", last.validation), ("under attack", last.robust)):
        if count is not None:
            lines.append(f"{name}: {count.k} of {count.n} right ({common.percent(count.rate)})")
    return [
        *lines,
        f"model: {trained.folder}",
        f"next: holdfast evaluate --model {trained.folder} --data {shlex.quote(data)}{given_dir} {against}",
    ]

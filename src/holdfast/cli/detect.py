"""`holdfast detect`: stand a detector beside a classifier, judge it by who knows of it, and use it."""

import csv
import io
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.fitted import Fitting, doubts, shown_fit, warned
from holdfast.cli.group import resumable
from holdfast.cli.judged import GUARD, attacks_of, check_guarded, folder_of, seen_before, shown
from holdfast.cli.screen import Screen
from holdfast.errors import ModelError, unknown

if TYPE_CHECKING:
    from holdfast.data import Pictures

app = typer.Typer(
    help="Stand a detector beside a classifier, judge it by attackers who know of it, and use it.", no_args_is_help=True
)

Detector = Annotated[
    str,
    flags.of_run(
        "--detector",
        metavar="NAME[:OPTION=VALUE,...]",
        help="How suspicion is measured; see `holdfast list detectors`.",
    ),
]
USUAL = "0.05"  # share of false alarms
FalseAlarms = Annotated[
    str, flags.of_run("--false-alarms", metavar="RATE", help="Share of clean pictures that may be refused.")
]
FitLimit = Annotated[
    int | None,
    flags.of_pictures("--fit-limit", min=1, metavar="N", help="Fit on the first so many training pictures alone."),
]


@app.command()
def fit(
    model: flags.Model,
    data: flags.Data,
    detector: Detector = "gradient-norm",
    false_alarms: FalseAlarms = USUAL,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    fit_limit: FitLimit = None,
    resize: flags.Resize = None,
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Fit a detector beside a classifier: on training pictures, its threshold on validation pictures.

    Writes a folder that `--model` takes anywhere: a guarded model, which refuses what it suspects.
    """
    from holdfast.cli.pictures import new_folder

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    fitting = Fitting.of(detector, false_alarms, seed, batch)
    folder = new_folder(out or given.run_name("detect", model, data))
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, resize=resize)
    held_out = load("validation")
    opened = common.model_of(model, weights, model_set, held_out, device)
    training = load("train", limit=fit_limit)
    made, told = fitting.saved(screen, opened, training, held_out, folder, model_set)
    warnings = warned(screen, doubts(made))
    screen.result(
        {"run": str(folder), **told, "warnings": warnings},
        *shown_fit(made, held_out),
        f"model: {folder}",
        _next(folder, data),
    )


def _next(folder: Path, data: str) -> str:
    return f"next: holdfast detect evaluate {shlex.join(['--model', str(folder), '--data', data])} --eps 8/255"


@app.command()
def evaluate(
    model: flags.Model,
    data: flags.Data,
    eps: Annotated[str, flags.of_attack("--eps", help="Radius, such as 0.1 or 8/255, for attacks that keep to one.")],
    norm: Annotated[
        str, flags.of_attack("--norm", metavar="linf|l2|l1|l0", help="Of attacks that keep to a radius.")
    ] = "linf",
    attack: Annotated[
        list[str] | None,
        flags.of_attack(
            "--attack",
            metavar="NAME[:OPTION=VALUE,...]",
            help="By default pgd and cw; may be repeated. Attacks that look for the smallest change do so in L2.",
        ),
    ] = None,
    detector: Annotated[
        str | None,
        flags.of_run(
            "--detector",
            metavar="NAME[:OPTION=VALUE,...]",
            help="For a model without a detector: the one to fit first; see `holdfast list detectors`.",
        ),
    ] = None,
    false_alarms: Annotated[
        str | None,
        flags.of_run(
            "--false-alarms",
            metavar="RATE",
            help=f"Of --detector: share of clean pictures that may be refused; by default {USUAL}.",
        ),
    ] = None,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    fit_limit: FitLimit = None,
    resize: flags.Resize = None,
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    report: flags.Report = True,
    out: flags.Out = None,
    resume: flags.Resume = False,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge a detector twice: by attackers who do not know of it, and by attackers who do.

    Writes a folder with the figures, the suspicion of every picture, and a page. Interrupted, it goes on with --resume:
    the detector that was fitted, and attacks that were judged, are kept.
    """
    from holdfast import detect, models
    from holdfast import evaluate as evaluating
    from holdfast.evaluate.judged_files import FOLDER
    from holdfast.report.detection import KIND
    from holdfast.threats import NORMS

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    attacks = attacks_of(attack or ["pgd", "cw"])
    if norm not in NORMS:
        raise unknown("norm", norm, NORMS)
    threat = NORMS[norm](eps=given.number(eps, "--eps"))
    check_guarded(model, detector, {"--false-alarms": false_alarms, "--fit-limit": fit_limit})
    warnings = warned(screen, seen_before(split))
    fitting = None if detector is None else Fitting.of(detector, false_alarms or USUAL, seed, batch)
    folder = folder_of(out or given.run_name("detection", model, data), resume=resume)
    common.note_beginning(screen, folder / (FOLDER if fitting is None else GUARD), resume=resume)
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, resize=resize)
    pictures = load(split, limit=limit)
    opened = common.model_of(model, weights, model_set, pictures, device)
    if fitting is not None:
        training, held_out = load("train", limit=fit_limit), load("validation")
        kept = fitting.kept(opened, training, held_out, folder / GUARD) if resume else None
        with resumable():
            made = kept or fitting.saved(screen, opened, training, held_out, folder / GUARD, model_set)[0]
    else:
        assert isinstance(opened.model, models.Guarded)
        made = detect.load(model, opened.model.model)
    warnings += warned(screen, doubts(made))
    with screen.progress("attacks") as bar, resumable():
        found = evaluating.detection(
            made,
            pictures,
            attacks,
            threat,
            seed=seed,
            batch=batch,
            out=folder,
            resume=resume,
            model=model,
            command=["holdfast", *sys.argv[1:]],
            progress=bar.update,
        )
    page = KIND.write(folder) if report else None
    screen.result(
        {"run": str(folder), "report": None if page is None else str(page), **found.plain, "warnings": warnings},
        *shown(found.plain),
        f"run: {folder}",
        *([] if page is None else [f"report: {page}"]),
    )


@app.command()
def apply(
    model: flags.Model,
    data: flags.Data,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    batch: flags.Batch = 256,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Say of each picture of a set or a folder what it shows, how suspicious it is, and whether it is refused.

    A folder of pictures needs no classes: without sub-folders, each is told by the name of its file.
    """
    from holdfast import detect, models
    from holdfast.cli.pictures import new_folder
    from holdfast.evaluate import open_model
    from holdfast.files import write_atomically

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    folder = new_folder(out or given.run_name("detected", model, data))
    pictures, head, named = _named_pictures(screen, data, split, data_dir, limit, resize)
    opened = open_model(model, shape=pictures.shape)
    guarded = opened.model.to(common.device_of(device))
    if not isinstance(guarded, models.Guarded):
        raise ModelError(f"--model {model} has no detector; allowed: a folder that `holdfast detect fit` wrote.")
    with screen.progress() as bar:
        tell = partial(bar.update, text="looking")
        logits, suspicion = detect.suspicions(guarded.suspicion, guarded.model, pictures, batch=batch, progress=tell)
    refused = guarded.refuses(suspicion)
    names = tuple(map(str, range(guarded.classes))) if opened.card is None else opened.card.classes
    rows = [
        (name, names[prediction], f"{value:.6g}", "yes" if no else "no")
        for name, prediction, value, no in zip(
            named, logits.argmax(1).tolist(), suspicion.tolist(), refused.tolist(), strict=True
        )
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([(head, "prediction", "suspicion", "refused"), *rows])
    write_atomically(folder / "detected.csv", text.getvalue().encode())
    plain = {"run": str(folder), "n": len(rows), "refused": int(refused.sum()), "threshold": float(guarded.threshold)}
    screen.result(
        plain,
        f"{plain['refused']} of {plain['n']} pictures refused (suspicion above {plain['threshold']:.4g})",
        f"written: {folder / 'detected.csv'}",
    )


def _named_pictures(
    screen: Screen, data: str, split: str, data_dir: Path | None, limit: int | None, resize: str | None
) -> "tuple[Pictures, str, tuple[str, ...]]":
    """Pictures, what they are named by, and their names: a file where they lie in a folder without classes."""
    from holdfast.data.folder import load_flat
    from holdfast.data.layout import lies_flat

    if lies_flat(Path(data)):
        pictures, files = load_flat(Path(data), limit=limit, resize=given.size(resize))
        common.note_reading(screen, pictures)
        return pictures, "file", files
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    return pictures, "place", tuple(map(str, pictures.place.tolist()))

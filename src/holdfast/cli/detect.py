"""`holdfast detect`: stand a detector beside a classifier, judge it by who knows of it, and use it."""

import csv
import io
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen, table
from holdfast.errors import ModelError, OptionError

if TYPE_CHECKING:
    from holdfast.attacks import Attack
    from holdfast.data import Pictures
    from holdfast.detect import Fitted
    from holdfast.evaluate import Opened

app = typer.Typer(
    help="Stand a detector beside a classifier, judge it by attackers who know of it, and use it.", no_args_is_help=True
)

Detector = Annotated[
    str | None,
    flags.of_run(
        "--detector",
        metavar="NAME[:OPTION=VALUE,...]",
        help="How suspicion is measured; see `holdfast list detectors`.",
    ),
]
FalseAlarms = Annotated[
    float, flags.of_run("--false-alarms", metavar="RATE", help="Share of clean pictures that may be refused.")
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
    false_alarms: FalseAlarms = 0.05,
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
    folder = new_folder(out or given.run_name("detect", model, data))
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, resize=resize)
    held_out = load("validation")
    opened = common.model_of(model, weights, model_set, held_out, device)
    training = load("train", limit=fit_limit)
    made, told = fitted_and_saved(
        screen, opened, detector or "gradient-norm", false_alarms, training, held_out, folder, model_set, batch, seed
    )
    screen.result({"run": str(folder), **told}, *shown_fit(made, held_out), f"model: {folder}", _next(folder, data))


def fitted_and_saved(
    screen: Screen,
    opened: "Opened",
    text: str,
    false_alarms: float,
    training: "Pictures",
    held_out: "Pictures",
    folder: Path,
    model_set: list[str] | None,
    batch: int,
    seed: int,
) -> "tuple[Fitted, dict[str, Any]]":
    """A detector fitted and written, and what its file holds."""
    from holdfast import detect
    from holdfast.evaluate import provenance
    from holdfast.models import card_of

    named = given.named(text, "--detector")
    chosen = detect.detector(str(named.pop("name")), named)
    with screen.progress() as bar:
        made = detect.fit(
            chosen,
            opened.model,
            training,
            held_out,
            false_alarms=false_alarms,
            seed=seed,
            batch=batch,
            progress=partial(bar.update, text=f"fitting {chosen.name}"),
        )
    if made.blind:
        share = f"{made.alike} of {len(held_out)} clean pictures"
        screen.note(f"warning: {chosen.name} says the same of {share}: it learnt nothing")
    card = opened.card or card_of(opened, training.shape, training.classes, given.pairs(model_set, "--model-set"))
    told = detect.save(
        folder,
        made,
        card,
        {
            "source": opened.source,
            "fitted_on": provenance.describe_data(training),
            "threshold_on": provenance.describe_data(held_out),
            "seed": seed,
        },
    )
    return made, told


def shown_fit(made: "Fitted", held_out: "Pictures") -> list[str]:
    """For people."""
    flagged = int((made.clean.double() > made.threshold.value).sum())
    return [
        f"{made.detector.name}: refuses above {made.threshold.value:.4g}, at most "
        f"{100 * made.threshold.false_alarms:g} % of clean pictures to come",
        f"from {made.threshold.n} {held_out.split} pictures, {flagged} of them above it; the classifier gets "
        f"{made.misclassified} of them wrong, which count like the others",
    ]


def _next(folder: Path, data: str) -> str:
    import shlex

    return f"next: holdfast detect evaluate {shlex.join(['--model', str(folder), '--data', data])} --eps 8/255"


@app.command()
def evaluate(
    model: flags.Model,
    data: flags.Data,
    eps: Annotated[str, flags.of_attack("--eps", help="Radius, such as 0.1 or 8/255, for attacks that keep to one.")],
    norm: Annotated[
        str, flags.of_attack("--norm", metavar="linf|l2|l1", help="Of attacks that keep to a radius.")
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
    false_alarms: FalseAlarms = 0.05,
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
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge a detector twice: by attackers who do not know of it, and by attackers who do.

    Writes a folder with the figures, the suspicion of every picture, and a page.
    """
    from holdfast import detect, models
    from holdfast import evaluate as evaluating
    from holdfast.cli.pictures import new_folder
    from holdfast.report.detection import KIND
    from holdfast.threats import build as threat_of

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    attacks = attacks_of(attack or ["pgd", "cw"])
    threat = threat_of(norm, eps=given.number(eps, "--eps"))
    guarded = detect.is_guard(model)
    if guarded == (detector is not None):
        what = "has a detector already" if guarded else "has no detector"
        raise OptionError(
            f"--model {model} {what}; allowed: a folder of `detect fit`, or a classifier with --detector NAME."
        )
    if split != "test":
        seen = "detectors are fitted on" if split == "train" else "thresholds are from"
        screen.note(
            f"warning: {seen} {split} pictures, on which they look better than on others; --split test has others"
        )
    folder = new_folder(out or given.run_name("detection", model, data))
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, resize=resize)
    pictures = load(split, limit=limit)
    opened = common.model_of(model, weights, model_set, pictures, device)
    if detector is not None:
        training, held_out = load("train", limit=fit_limit), load("validation")
        made, _ = fitted_and_saved(
            screen, opened, detector, false_alarms, training, held_out, folder / "guard", model_set, batch, seed
        )
    else:
        assert isinstance(opened.model, models.Guarded)
        made = detect.load(model, opened.model.model)
    with screen.progress("attacks") as bar:
        found = evaluating.detection(
            made,
            pictures,
            attacks,
            threat,
            seed=seed,
            batch=batch,
            out=folder,
            model=model,
            command=["holdfast", *sys.argv[1:]],
            progress=bar.update,
        )
    page = KIND.write(folder) if report else None
    screen.result(
        {"run": str(folder), "report": None if page is None else str(page), **found.plain},
        *shown(found.plain),
        f"run: {folder}",
        *([] if page is None else [f"report: {page}"]),
    )


def attacks_of(texts: list[str]) -> "list[Attack]":
    """Attacks with their options. Raises: `OptionError` for an unknown one, or one named twice."""
    from holdfast.attacks import build

    return [build(name, options) for name, options in given.each_once(texts, "--attack")]


def shown(plain: Mapping[str, Any]) -> list[Any]:
    """Both columns, and what that means."""
    from holdfast.report.detection import worth

    clean = plain["clean"]
    rows = [
        (
            one["attack"],
            _share(one["oblivious"]["detected"]),
            _share(one["full"]["detected"]) if one["full"] else "-",
            _size(one["oblivious"]["median_size"]),
            _share(one["adaptive"]["detected"]),
            _size(one["adaptive"]["median_size"]),
            _share(one["robust"]),
        )
        for one in plain["attacks"]
    ]
    columns = ("attack", "flagged, unaware", "with all steps", "size", "flagged, aware", "size", "robust")
    return [
        f"{plain['detector']['name']}: {_share(clean['false_alarms'])} of {clean['n']} clean pictures refused; "
        f"{_share(clean['answered_and_right'])} answered rightly",
        "",
        table(columns, rows, right=range(1, 7)),
        "",
        worth(plain),
    ]


def _share(rate: dict[str, Any] | None) -> str:
    return "-" if rate is None else f"{100 * rate['rate']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _size(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


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
    """Say of each picture of a set or a folder what it shows, how suspicious it is, and whether it is refused."""
    from holdfast import detect, models
    from holdfast.cli.pictures import new_folder
    from holdfast.files import write_atomically

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    folder = new_folder(out or given.run_name("detected", model, data))
    pictures = common.pictures_of(screen, data, split, data_dir=data_dir, limit=limit, resize=resize)
    opened = common.model_of(model, None, None, pictures, device)
    guarded = opened.model
    if not isinstance(guarded, models.Guarded):
        raise ModelError(f"--model {model} has no detector; allowed: a folder that `holdfast detect fit` wrote.")
    with screen.progress() as bar:
        tell = partial(bar.update, text="looking")
        logits, suspicion = detect.suspicions(guarded.suspicion, guarded.model, pictures, batch=batch, progress=tell)
    refused = suspicion.double() > float(guarded.threshold)
    names = opened.card.classes if opened.card is not None else pictures.classes
    rows = [
        (place, names[prediction], f"{value:.6g}", "yes" if no else "no")
        for place, prediction, value, no in zip(
            pictures.place.tolist(), logits.argmax(1).tolist(), suspicion.tolist(), refused.tolist(), strict=True
        )
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("place", "prediction", "suspicion", "refused"), *rows])
    write_atomically(folder / "detected.csv", text.getvalue().encode())
    plain = {"run": str(folder), "n": len(rows), "refused": int(refused.sum()), "threshold": float(guarded.threshold)}
    screen.result(
        plain,
        f"{plain['refused']} of {plain['n']} pictures refused (suspicion above {plain['threshold']:.4g})",
        f"written: {folder / 'detected.csv'}",
    )

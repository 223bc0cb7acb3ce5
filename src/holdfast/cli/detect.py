"""`holdfast detect`: stand a detector beside a classifier, judge it by who knows of it, and use it."""

import csv
import io
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import common, flags, given
from holdfast.cli.group import Interrupted
from holdfast.cli.screen import Screen, table
from holdfast.errors import ModelError, OptionError, RunError, unknown

if TYPE_CHECKING:
    from holdfast.attacks import Attack
    from holdfast.data import Pictures
    from holdfast.detect import Fitted
    from holdfast.evaluate import Opened

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
GUARD = "guard"  # the folder of a detector that was fitted to be judged, in that of the run
OF_FITTING = ("--detector", "--false-alarms", "--fit-limit", "--weights", "--model-set")
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
    folder = new_folder(out or given.run_name("detect", model, data))
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, resize=resize)
    held_out = load("validation")
    opened = common.model_of(model, weights, model_set, held_out, device)
    training = load("train", limit=fit_limit)
    made, told = fitted_and_saved(
        screen, opened, detector, false_alarms, training, held_out, folder, model_set, batch, seed
    )
    warnings = warned(screen, doubts(made))
    screen.result(
        {"run": str(folder), **told, "warnings": warnings},
        *shown_fit(made, held_out),
        f"model: {folder}",
        _next(folder, data),
    )


def fitted_and_saved(
    screen: Screen,
    opened: "Opened",
    text: str,
    false_alarms: str,
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
            false_alarms=given.number(false_alarms, "--false-alarms"),
            seed=seed,
            batch=batch,
            progress=partial(bar.update, text=f"fitting {chosen.name}"),
        )
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


def doubts(made: "Fitted") -> list[str]:
    """What speaks against a fitted detector, a sentence each."""
    found, n = [], made.threshold.n
    if made.blind:
        found.append(f"{made.detector.name} says the same of {made.alike} of {n} clean pictures: it learnt nothing")
    if 2 * made.misclassified > n:
        found.append(
            f"the classifier gets {made.misclassified} of {n} clean pictures wrong: it may have been trained on other "
            "data than these"
        )
    return found


def warned(screen: Screen, texts: Sequence[str]) -> list[str]:
    """The same texts, told on stderr unless it is to be quiet; --json holds them in any case."""
    for text in texts:
        screen.note(f"warning: {text}")
    return list(texts)


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
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge a detector twice: by attackers who do not know of it, and by attackers who do.

    Writes a folder with the figures, the suspicion of every picture, and a page. A run that is cut short keeps the
    detector that it fitted, in FOLDER/guard: `--model FOLDER/guard --out FOLDER` without `--detector` judges that.
    """
    from holdfast import detect, models
    from holdfast import evaluate as evaluating
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
    folder = folder_to_judge_in(out or given.run_name("detection", model, data), model)
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, resize=resize)
    pictures = load(split, limit=limit)
    opened = common.model_of(model, weights, model_set, pictures, device)
    if detector is not None:
        training, held_out = load("train", limit=fit_limit), load("validation")
        made, _ = fitted_and_saved(
            screen,
            opened,
            detector,
            false_alarms or USUAL,
            training,
            held_out,
            folder / GUARD,
            model_set,
            batch,
            seed,
        )
    else:
        assert isinstance(opened.model, models.Guarded)
        made = detect.load(model, opened.model.model)
    warnings += warned(screen, doubts(made))
    with screen.progress("attacks") as bar, keeping(None if detector is None else folder):
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
        {"run": str(folder), "report": None if page is None else str(page), **found.plain, "warnings": warnings},
        *shown(found.plain),
        f"run: {folder}",
        *([] if page is None else [f"report: {page}"]),
    )


def seen_before(split: str) -> list[str]:
    """What speaks against judging on a split."""
    if split == "test":
        return []
    seen = "detectors are fitted on" if split == "train" else "thresholds are from"
    return [f"{seen} {split} pictures, on which they look better than on others; --split test has others"]


def folder_to_judge_in(folder: Path, model: str) -> Path:
    """A new folder, or that of a run cut short which had fitted the very detector to be judged.

    Raises: `RunError` for one in use, which says of such a run how it goes on.
    """
    from holdfast import detect
    from holdfast.cli.pictures import new_folder
    from holdfast.evaluate.detection import ARRAYS

    guard = folder / GUARD
    rest = {one.name for one in folder.iterdir() if one.suffix != ".part"} - {GUARD, ARRAYS} if folder.is_dir() else ()
    if not detect.is_guard(guard) or rest:
        return new_folder(folder)
    if Path(model).resolve() != guard.resolve():
        raise RunError(
            f"{str(folder)!r} holds a detector that was fitted and not judged; allowed: a new folder. Name another "
            f"--out, or judge that detector by --model {guard} without --detector."
        )
    return folder


@contextmanager
def keeping(folder: Path | None) -> Iterator[None]:
    """Turn Ctrl-C into the line that says that the fitted detector in the folder is kept, and how to go on with it."""
    try:
        yield
    except KeyboardInterrupt as error:
        if folder is None:
            raise
        again = [*without(sys.argv[1:], OF_FITTING), "--model", str(folder / GUARD), "--out", str(folder)]
        raise Interrupted(
            f"interrupted; the fitted detector is kept; go on with: {shlex.join(['holdfast', *again])}"
        ) from error


def without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Words of a command line less some flags and their values, and less --model and --out."""
    dropped, kept, value = (*flags, "--model", "-m", "--out", "-o"), [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if value:
            value = False
        elif name in dropped:
            value = not equals
        else:
            kept.append(word)
    return kept


def check_guarded(model: str, detector: str | None, of_fitting: Mapping[str, object]) -> None:
    """Whether there is one detector, and no flag that would do nothing. `of_fitting`: those that only fitting reads.

    Raises: `OptionError` for none or two, or such a flag beside a detector that is fitted.
    """
    from holdfast import detect

    guarded = detect.is_guard(model)
    if guarded == (detector is not None):
        there = Path(model).exists() or ":" in model
        what = "has a detector already" if guarded else "has no detector" if there else "is not there"
        raise OptionError(
            f"--model {model} {what}; allowed: a folder of `detect fit`, or a classifier with --detector NAME."
        )
    idle = [flag for flag, value in of_fitting.items() if value is not None]
    if guarded and idle:
        raise OptionError(
            f"{idle[0]} with --model {model}, whose detector is fitted; allowed: with --detector NAME, which fits one. "
            "Leave it out, or fit another by `holdfast detect fit`."
        )


def attacks_of(texts: list[str]) -> "list[Attack]":
    """Attacks with their options. Raises: `OptionError` for an unknown one, one from elsewhere, or one named twice."""
    from holdfast.attacks import ATTACKS, build

    for text in texts:
        name, colon, rest = text.partition(":")
        if colon and name not in ATTACKS and "=" not in rest.partition(",")[0]:
            raise OptionError(
                f"--attack {text}; allowed: attacks of our own, which know how to attack a detector too. Take one that "
                "`holdfast list attacks` names."
            )
    return [build(name, options) for name, options in given.each_once(texts, "--attack")]


def shown(plain: Mapping[str, Any]) -> list[Any]:
    """Both columns, and what that means."""
    from holdfast.report import words
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
        f"{plain['detector']['name']}: {_share(clean['false_alarms'])} of {words.plural(clean['n'], 'clean picture')} "
        f"refused; {_share(clean['answered_and_right'])} answered rightly",
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

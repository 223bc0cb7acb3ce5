"""`holdfast ood`: does the model know what it was not trained for?"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen, table
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.data import Pictures
    from holdfast.uncertainty import Judgement
    from holdfast.uncertainty.scores import Score

CLASSES, NOISE = "classes:", "noise:"
UNAWARE = (
    "the attack did not know of the scores; one that does evades most of them (Carlini & Wagner 2017, "
    "arXiv:1705.07263), so these figures say nothing of a detector under attack"
)


def command(
    model: flags.Model,
    data: flags.Data,
    against: Annotated[
        str,
        flags.of_pictures(
            "--against",
            metavar="NAME|FOLDER|noise:uniform|noise:gaussian|classes:N,N,...|RUN",
            help="What the model was not trained for: another data set, a folder, noise, classes that it never saw, or "
            "the adversarial pictures in a folder that `attack` or `evaluate` wrote.",
        ),
    ],
    score: Annotated[
        list[str] | None,
        flags.of_run(
            "--score",
            metavar="NAME[:OPTION=VALUE,...]|all",
            help="How suspicion is measured, see `holdfast list scores`; may be repeated. By default all.",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        flags.of_model(
            "--layer",
            metavar="NAME",
            help="The linear layer whose input scores of features look at; by default the one that gives the logits.",
        ),
    ] = None,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    split: flags.Split = "test",
    limit: flags.Limit = None,
    fit_limit: Annotated[
        int | None,
        flags.of_pictures("--fit-limit", min=1, metavar="N", help="Fit on the first so many training pictures alone."),
    ] = None,
    resize: flags.Resize = None,
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    report: flags.Report = True,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Judge how well scores of suspicion tell unfamiliar pictures from familiar ones.

    Scores are fitted on the training split of the data and judged on another. Writes a folder with the figures, the
    score of every picture, and a page.
    """
    from holdfast.cli.pictures import new_folder
    from holdfast.evaluate import unfamiliar
    from holdfast.report.suspicion import KIND

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    chosen, all_of_them = scores_of(score)
    if split == "train":
        raise OptionError("--split train; allowed: validation or test. The scores are fitted on the training split.")
    check_against(against)
    own, foreign = sides(data, against)
    folder = new_folder(out or given.run_name("ood", model, data, against))
    inside = common.pictures_of(screen, own, split, data_dir=data_dir, limit=limit, resize=resize)
    known = common.pictures_of(screen, own, "train", data_dir=data_dir, limit=fit_limit, resize=resize)
    opened = common.model_of(model, weights, model_set, inside, device)
    outside = outliers(screen, foreign, inside, split, data_dir, limit, seed)
    with screen.progress() as bar:
        result = unfamiliar(
            opened,
            chosen,
            fitted_on=known,
            inside=inside,
            outside=outside,
            layer=layer,
            lenient=all_of_them,
            batch=batch,
            seed=seed,
            out=folder,
            command=["holdfast", *sys.argv[1:]],
            progress=lambda done, total: bar.update(done, total, "looking"),
        )
    found = result.judgement
    page = KIND.write(folder) if report else None
    common.note_left_out(screen, found.left_out)
    screen.result(
        {"run": str(folder), "report": None if page is None else str(page), **result.plain},
        f"familiar: {len(inside)} pictures of {inside.name}; unfamiliar: {len(outside)} of {outside.name}",
        *(f"note: {text}" for text in outside.notes),
        rates(found),
        "AUROC by DeLong, the others by the bootstrap, each with its 95 % interval; FPR95: unfamiliar pictures that "
        "pass where 95 % of the familiar ones do",
        f"run: {folder}",
        *([] if page is None else [f"report: {page}"]),
    )


def scores_of(texts: Sequence[str] | None) -> "tuple[list[Score], bool]":
    """The scores asked for, and whether that is all there are. Raises: `OptionError` for an unknown one, or twice."""
    from holdfast.uncertainty import SCORES, score

    if not texts or list(texts) == ["all"]:
        return [score(name) for name in SCORES], True
    return [score(name, options) for name, options in given.each_once(texts, "--score")], False


def check_against(against: str) -> None:
    """Raise `OptionError` for a folder that `detect evaluate` wrote: it holds only some of the pictures."""
    from holdfast.evaluate.detection import FILE

    if (Path(against) / FILE).is_file():
        raise OptionError(
            f"--against {against} is a folder of `detect evaluate`, which does not hold all adversarial pictures; "
            "allowed: one that `holdfast attack` or `holdfast evaluate` wrote. Run `holdfast attack` with the same "
            "attack."
        )


def sides(data: str, against: str) -> tuple[str, str]:
    """Both sets by name; `classes:7,8,9` takes those out of the data and sets them against it."""
    if not against.startswith(CLASSES):
        return data, against
    listed = against.removeprefix(CLASSES)
    return f"{data}:without={listed}", f"{data}:only={listed}"


def outliers(
    screen: Screen, named: str, inside: "Pictures", split: str, data_dir: Path | None, limit: int | None, seed: int
) -> "Pictures":
    """The unfamiliar pictures, in the shape of the familiar ones; what was done for that is in their notes."""
    from holdfast.data.adapting import adapted
    from holdfast.errors import DataError
    from holdfast.evaluate.attacked import attacked, is_attacked
    from holdfast.uncertainty import noise

    if named.startswith(NOISE):
        return noise(named.removeprefix(NOISE), inside, seed=seed)
    if is_attacked(Path(named)):
        found = attacked(Path(named), inside.classes).take(slice(0, limit))
        if found.shape != inside.shape:
            raise DataError(
                f"{named!r} holds adversarial pictures of shape {found.shape}, the data {inside.shape}; allowed: the "
                "same. Attack a model of these data."
            )
        return replace(found, notes=(UNAWARE,))
    height, width = inside.shape[1:]
    resize = f"{height}x{width}" if Path(named).is_dir() else None
    try:
        found = common.pictures_of(screen, named, split, data_dir=data_dir, limit=limit, resize=resize)
    except OptionError as error:
        raise OptionError(
            f"--against: {error} Or name a folder, noise:uniform, noise:gaussian, or classes:..."
        ) from None
    return adapted(found, inside.shape)


def rates(found: "Judgement") -> Any:
    """A row a score, the best first."""
    rows = []
    for one in sorted(found.judged, key=lambda one: -one.separation.auroc.value):
        made = one.separation
        rows.append((one.score.name, *(_shown(e) for e in (made.auroc, made.aupr_out, made.aupr_in, made.fpr95))))
    return table(("score", "AUROC", "AUPR unfamiliar", "AUPR familiar", "FPR95"), rows, right=range(1, 5))


def _shown(estimate: Any) -> str:
    value, low, high = (100 * part for part in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"

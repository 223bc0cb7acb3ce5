"""`holdfast calibrate`: is the model as sure as it is right, what mends that, and what to leave unanswered."""

import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen, table
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from holdfast.data import Pictures
    from holdfast.evaluate import Calibration
    from holdfast.models import Opened
    from holdfast.uncertainty import Measured, Outcome, Recalibration

SHOWN = ("ece", "nll", "brier", "accuracy")


def command(
    model: flags.Model,
    data: flags.Data,
    weights: flags.Weights = None,
    model_set: flags.ModelSet = None,
    device: flags.Device = "auto",
    data_dir: flags.DataDir = None,
    fit_on: Annotated[
        str | None,
        flags.of_pictures(
            "--fit-on",
            metavar="train|validation|test",
            help="Pictures to fit on: validation for a model that `train` made of these data, else half of --on.",
        ),
    ] = None,
    on: Annotated[
        str,
        flags.of_pictures(
            "--on", metavar="train|validation|test", help="Pictures that are reported, none of which is fitted on."
        ),
    ] = "test",
    limit: flags.Limit = None,
    resize: flags.Resize = None,
    method: Annotated[
        list[str] | None,
        flags.of_run(
            "--method",
            metavar="NAME[:OPTION=VALUE,...]|all|none",
            help="How to recalibrate, by default temperature; may be repeated. `none` only measures. "
            "See `holdfast list recalibrations`.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        flags.of_run(
            "--keep",
            metavar="NAME",
            help="Of several methods, the one whose model is saved: temperature if among them, else the first.",
        ),
    ] = None,
    bins: Annotated[int, flags.of_run("--bins", help="Bins of confidence.")] = 15,
    risk: Annotated[
        float,
        flags.of_run("--risk", help="Share of errors wanted among answered pictures, for the threshold."),
    ] = 0.05,
    alpha: Annotated[
        float,
        flags.of_run("--alpha", help="Share of sets of classes that may miss the right one."),
    ] = 0.1,
    batch: flags.Batch = 256,
    seed: flags.Seed = 0,
    out: flags.Out = None,
    threads: flags.Threads = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure calibration, mend it on held-out pictures, and say which pictures to leave unanswered.

    Writes a folder with the recalibrated model, which `--model` takes anywhere, calibrate.json and a page.
    """
    from holdfast.cli.pictures import new_folder
    from holdfast.evaluate import CalibrationOptions, calibrate
    from holdfast.report.calibration import KIND

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    options = CalibrationOptions(
        methods=methods_of(method or ["temperature"]),
        keep=keep,
        lenient=method == ["all"],
        bins=bins,
        risk=risk,
        alpha=alpha,
        seed=seed,
        batch=batch,
    )
    folder = new_folder(out or given.run_name("calibrate", model, data))
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, limit=limit, resize=resize)
    reported = load(on)
    opened = common.model_of(model, weights, model_set, reported, device)
    fitted_on = to_fit_on(screen, opened, reported, fit_on, load)
    with screen.progress() as bar:
        found = calibrate(
            opened,
            reported,
            fitted_on,
            options,
            model_options=given.pairs(model_set, "--model-set"),
            out=folder,
            command=["holdfast", *sys.argv[1:]],
            progress=partial(bar.update, text="asking"),
        )
    common.note_left_out(screen, found.left_out)
    page = KIND.write(folder)
    screen.result(
        {"run": str(folder), "report": str(page), "fit_seconds": found.fit_seconds, **found.plain},
        *shown(found, model, data, folder, page),
    )


def methods_of(texts: Sequence[str]) -> "tuple[Recalibration, ...]":
    """The methods named, with their options. Raises: `OptionError` for one that is unknown."""
    from holdfast.uncertainty import RECALIBRATIONS, build

    if "none" in texts or "all" in texts:
        if len(texts) > 1:
            raise OptionError(f"--method {', '.join(texts)}; allowed: names, or all, or none, alone.")
        return () if texts[0] == "none" else tuple(build(name) for name in RECALIBRATIONS)
    entries = [given.named(text, "--method") for text in texts]
    return tuple(build(str(entry.pop("name")), entry) for entry in entries)


def to_fit_on(
    screen: Screen, opened: "Opened", reported: "Pictures", fit_on: str | None, load: "Callable[[str], Pictures]"
) -> "Pictures | None":
    """The pictures to fit on; None for half of those to report. Raises: `OptionError` for one split as both."""
    trained = {} if opened.card is None else opened.card.training.get("data") or {}
    here = trained.get("name") == reported.name
    if fit_on is None:
        fit_on = "validation" if here and reported.split != "validation" else None
    elif fit_on == reported.split:
        raise OptionError(
            f"--fit-on {fit_on} and --on {reported.split}; allowed: two splits, since numbers on pictures that were "
            "fitted on come out too good. Leave out --fit-on for two halves of one."
        )
    if here and trained.get("split") == (fit_on or reported.split):
        screen.note("warning: the model was trained on the pictures to fit on, where it is surer than on others")
    if here and trained.get("split") == reported.split:
        screen.note("warning: the model was trained on the pictures reported: on others it is right less often")
    if fit_on is None:
        screen.note(
            f"note: fitted on one half of {reported.split}, reported on the other; --fit-on names another split"
        )
    return None if fit_on is None else load(fit_on)


def shown(found: "Calibration", model: str, data: str, folder: Path, page: Path) -> list[Any]:
    """For people."""
    plain = found.plain
    fitted, reported = plain["data"]["fit_on"], plain["data"]["on"]
    half = "half of " if plain["data"]["halves"] else ""
    where = f"{half}{reported['split']} ({reported['n']} pictures)"
    if found.outcomes:
        where += f", fitted on {half and 'the other '}{half}{fitted['split']} ({fitted['n']})"
    if plain["answered"] is not None:
        share = plain["answered"]["on"]
        where += f"; the detector refuses {share['n'] - share['k']}, figures are about the {share['k']} answered"
    lines: list[Any] = [f"{model} on {data}: {where}", "", rates(found.before, found.outcomes), ""]
    lines += [changes(one) for one in found.outcomes if one.changed]
    lines += [f"{one.method.name}: {note}" for one in found.outcomes for note in one.notes]
    lines += [*answered(plain["selective"]), *(covered(row) for row in plain["sets"]), ""]
    if plain["kept"] is not None:
        lines.append(f"model: {folder}, recalibrated by {plain['kept']}")
    lines.append(f"report: {page}")
    if plain["kept"] is not None:
        words = shlex.join(["--model", str(folder), "--data", data])
        lines.append(f"next: holdfast evaluate {words} --eps 8/255")
    return lines


def rates(whole: "Measured", found: "Sequence[Outcome]") -> Any:
    """A row before and one a method."""
    rows = [("before", whole)] + [(one.method.name, one.after) for one in found]
    return table(("", *SHOWN), [(name, *map(partial(cell, one), SHOWN)) for name, one in rows], right=(1, 2, 3, 4))


def cell(measured: "Measured", name: str) -> str:
    """A measure with its interval."""
    one = measured.measures[name]
    if name in ("ece", "accuracy"):
        return f"{100 * one.value:.2f} % ({100 * one.low:.2f} to {100 * one.high:.2f})"
    return f"{one.value:.4f} ({one.low:.4f} to {one.high:.4f})"


def changes(one: "Outcome") -> str:
    """What became of the predictions."""
    was, now = (measured.measures["accuracy"].value for measured in (one.before, one.after))
    told = f"{one.method.name}: {one.changed} predictions changed, {one.mended} became right and {one.broken} wrong"
    return f"{told}; accuracy {100 * was:.2f} % before, {100 * now:.2f} % after"


def answered(plain: dict[str, Any]) -> list[str]:
    """The threshold in a line or two."""
    found, risk = plain["threshold"], f"{100 * plain['risk']:g} %"
    if found is None:
        return [f"no threshold keeps the risk under {risk} for sure; more pictures to fit on, or a larger --risk, may"]
    told = f"answer above a confidence of {found['confidence_above']:.4f}: the risk is at most {risk}"
    errors = found["errors"]
    counted = f"{found['coverage']['k']} of {found['coverage']['n']} answered"
    counted += "" if errors is None else f", {errors['k']} of them wrong"
    return [f"{told}, but for a chance of {100 * found['delta']:g} %; here {counted} (model before recalibration)"]


def covered(row: dict[str, Any]) -> str:
    """A rule of sets in a line."""
    held = f"{row['k']} of {row['n']} pictures"
    told = f"{row['rule']}: sets of {row['mean_size']:.2f} classes hold the right one for {held}"
    return f"{told} ({common.percent(row['rate'])}; wanted {common.percent(1 - row['alpha'])} or more)"

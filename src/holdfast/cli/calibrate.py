"""`holdfast calibrate`: is the model as sure as it is right, what mends that, and what to leave unanswered."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from holdfast.cli import common, flags, given
from holdfast.cli.screen import Screen, table
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.data import Pictures
    from holdfast.models import Card, Opened
    from holdfast.uncertainty import Measured, Outcome, Recalibration

TIMING = "timing.json"
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
    from holdfast import uncertainty
    from holdfast.cli.pictures import new_folder
    from holdfast.files import dump_json, write_atomically
    from holdfast.report.calibration import FILE, write_calibration

    screen = Screen(plain=json, quiet=quiet)
    common.use_threads(threads)
    methods = methods_of(method or ["temperature"])
    kept = kept_of(methods, keep)
    check_shares(risk, alpha)
    folder = new_folder(out or given.run_name("calibrate", model, data))
    load = partial(common.pictures_of, screen, data, data_dir=data_dir, limit=limit, resize=resize)
    reported = load(on)
    opened = common.model_of(model, weights, model_set, reported, device)
    check_once(opened, methods)
    halved, fitted, reported = parts(screen, opened, reported, fit_on, load, seed)
    if method == ["all"]:
        methods = possible(screen, methods, fitted)
        kept = kept_of(methods, keep)
    with screen.progress() as bar:
        asked = []
        for some, text in ((fitted, "asking on pictures to fit on"), (reported, "asking on pictures to report")):
            tell = partial(bar.update, text=text)
            asked.append((uncertainty.answers(opened.model, some, batch=batch, progress=tell), some.labels))
    found = uncertainty.recalibrate(methods, *asked, bins=bins, seed=seed)
    whole = found[0].before if found else uncertainty.measured(*asked[1], bins=bins, seed=seed)
    wanted = Wanted(risk, alpha, seed)
    plain = {
        **described(opened, fitted, reported, halved, bins, seed),
        "before": whole.to_plain(),
        "methods": [one.to_plain() for one in found],
        "kept": kept,
        "selective": selective(asked[0], asked[1], whole, wanted),
        "sets": sets(asked[0], asked[1], fitted, reported, wanted),
    }
    if kept is not None:
        (chosen,) = (one for one in found if one.method.name == kept)
        save(folder, opened, chosen, fitted, given.pairs(model_set, "--model-set"))
    seconds = {one.method.name: round(one.seconds, 3) for one in found}
    write_atomically(folder / FILE, dump_json(plain))
    write_atomically(folder / TIMING, dump_json({"format": 1, "fit_seconds": seconds}))
    page = write_calibration(folder)
    screen.result(
        {"run": str(folder), "report": str(page), "fit_seconds": seconds, **plain},
        *shown(plain, whole, found, model, data, folder, page),
    )


@dataclass(frozen=True)
class Wanted:
    """What is asked of thresholds and sets."""

    risk: float
    alpha: float
    seed: int


def methods_of(texts: Sequence[str]) -> "list[Recalibration]":
    """The methods named, with their options. Raises: `OptionError` for one that is unknown, or named twice."""
    from holdfast.uncertainty import RECALIBRATIONS, build

    if "none" in texts or "all" in texts:
        if len(texts) > 1:
            raise OptionError(f"--method {', '.join(texts)}; allowed: names, or all, or none, alone.")
        return [] if texts[0] == "none" else [build(name) for name in RECALIBRATIONS]
    entries = [given.named(text, "--method") for text in texts]
    names = [str(entry.pop("name")) for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"--method {name} is given {names.count(name)} times; allowed: once. Leave one out.")
    return [build(name, entry) for name, entry in zip(names, entries, strict=True)]


def kept_of(methods: "Sequence[Recalibration]", keep: str | None) -> str | None:
    """The name of the method whose model is saved; None without methods. Raises: `OptionError` for another one."""
    names = [method.name for method in methods]
    if keep is not None and keep not in names:
        raise OptionError(
            f"--keep {keep}; allowed: one of the methods, {', '.join(names) or 'of which there is none'}."
        )
    return keep or ("temperature" if "temperature" in names else next(iter(names), None))


def check_shares(risk: float, alpha: float) -> None:
    """Raises: `OptionError` unless both are shares."""
    for flag, value in (("--risk", risk), ("--alpha", alpha)):
        if not 0 < value < 1:
            raise OptionError(f"{flag} {value}; allowed: between 0 and 1, such as {flag} 0.05.")


def check_once(opened: "Opened", methods: "Sequence[Recalibration]") -> None:
    """Raises: `OptionError` for a recalibrated model that is to be recalibrated again."""
    if methods and opened.card is not None and opened.card.recalibration is not None:
        raise OptionError(
            f"--model {opened.source} is recalibrated already, by {opened.card.recalibration['method']}; allowed: "
            "--method none, which measures it, or the model that it was made from."
        )


def parts(
    screen: Screen, opened: "Opened", reported: "Pictures", fit_on: str | None, load: Any, seed: int
) -> "tuple[bool, Pictures, Pictures]":
    """Whether one split was halved, the pictures to fit on, and those to report, which share none.

    Raises: `OptionError` for one split as both, `DataError` for splits that share pictures.
    """
    from holdfast.uncertainty import check_apart, halves

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
    if fit_on is None:
        fitted, rest = halves(reported, seed)
        screen.note(
            f"note: fitted on one half of {reported.split}, reported on the other; --fit-on names another split"
        )
    else:
        fitted, rest = load(fit_on), reported
    check_apart(fitted, rest)
    return fit_on is None, fitted, rest


def possible(screen: Screen, methods: "Sequence[Recalibration]", fitted: "Pictures") -> "list[Recalibration]":
    """Those that can be fitted: temperature alone where a class has no picture."""
    counts = fitted.labels.bincount(minlength=len(fitted.classes))
    if bool((counts > 0).all()):
        return list(methods)
    empty = ", ".join(fitted.classes[k] for k in (counts == 0).nonzero().flatten().tolist())
    screen.note(f"warning: no picture to fit on of {empty}; only temperature is fitted, which needs none of each class")
    return [method for method in methods if method.name == "temperature"]


def described(
    opened: "Opened", fitted: "Pictures", reported: "Pictures", halved: bool, bins: int, seed: int
) -> dict[str, Any]:
    """What was asked for, and of what."""
    from holdfast.evaluate import provenance

    return {
        "format": 1,
        "model": opened.source,
        "data": {
            "fit_on": provenance.describe_data(fitted),
            "on": provenance.describe_data(reported),
            "halves": halved,
            "fit_on_sha256": fitted.sha256(),
        },
        "bins": bins,
        "provenance": provenance.provenance(opened.model, reported, seed, ["holdfast", *sys.argv[1:]]),
    }


def selective(
    fitted: "tuple[Tensor, Tensor]", reported: "tuple[Tensor, Tensor]", whole: "Measured", wanted: Wanted
) -> dict[str, Any]:
    """The threshold for the wanted risk, chosen on the one and counted on the other, and the curve."""
    from holdfast.evaluate import Rate
    from holdfast.uncertainty import threshold
    from holdfast.uncertainty.measures import confidence

    found = threshold(*confidence(*fitted), risk=wanted.risk)
    plain: dict[str, Any] = {"risk": wanted.risk, "threshold": None, "aurc": whole.curve.area}
    plain["curve"] = thinned(whole)
    if found is not None:
        said, right = confidence(*reported)
        taken = found.accepts(said)
        accepted, wrong = int(taken.sum()), int((taken & ~right).sum())
        plain["threshold"] = {
            "confidence_above": max(found.above, 0.0),
            "bound": found.bound,
            "delta": found.delta,
            "fitted": {"accepted": found.accepted, "wrong": found.wrong, "n": found.n},
            "coverage": Rate(accepted, len(right)).to_plain(),
            "errors": Rate(wrong, accepted).to_plain() if accepted else None,
        }
    return plain


def thinned(measured: "Measured", most: int = 200) -> list[list[float]]:
    """Some points of the risk-coverage curve, the last one always."""
    n = len(measured.curve.risk)
    places = sorted({min(n - 1, n * step // most) for step in range(1, most + 1)})
    return [[float(measured.curve.coverage[p]), float(measured.curve.risk[p])] for p in places]


def sets(
    fitted: "tuple[Tensor, Tensor]",
    reported: "tuple[Tensor, Tensor]",
    to_fit: "Pictures",
    to_report: "Pictures",
    wanted: Wanted,
) -> list[dict[str, Any]]:
    """Each rule's level, made on the one, and its coverage of the other."""
    from holdfast.options import to_plain
    from holdfast.uncertainty import SETS, conformal, coverage

    rows = []
    for kind in SETS.values():
        made = conformal(kind(), *fitted, alpha=wanted.alpha, seed=wanted.seed, place=to_fit.place)
        found = coverage(made.sets(reported[0], to_report.place), reported[1])
        rule: dict[str, Any] = {"rule": kind.name, "options": to_plain(made.rule), "alpha": wanted.alpha}
        rows.append({**rule, "level": made.level, **found.to_plain()})
    return rows


def save(folder: Path, opened: "Opened", chosen: "Outcome", fitted: "Pictures", options: dict[str, str]) -> None:
    """Write the recalibrated model as a folder that every command takes."""
    from holdfast import models
    from holdfast.models import maps
    from holdfast.options import to_plain

    card: Card = opened.card or models.card_of(opened, fitted.shape, fitted.classes, options)
    told = {
        "map": maps.named(chosen.map),
        "method": chosen.method.name,
        "options": to_plain(chosen.method),
        "backward": chosen.map.backward,
        "fitted_on": {"name": fitted.name, "split": fitted.split, "n": len(fitted), "sha256": fitted.sha256()},
    }
    models.save(folder, models.Recalibrated(opened.model, chosen.map), replace(card, recalibration=told))


def shown(
    plain: dict[str, Any],
    whole: "Measured",
    found: "Sequence[Outcome]",
    model: str,
    data: str,
    folder: Path,
    page: Path,
) -> list[Any]:
    """For people."""
    fitted, reported = plain["data"]["fit_on"], plain["data"]["on"]
    half = "half of " if plain["data"]["halves"] else ""
    where = f"{half}{reported['split']} ({reported['n']} pictures)"
    if found:
        where += f", fitted on {half and 'the other '}{half}{fitted['split']} ({fitted['n']})"
    lines: list[Any] = [f"{model} on {data}: {where}", "", rates(whole, found), ""]
    lines += [changes(one) for one in found if one.changed]
    lines += [f"{one.method.name}: {note}" for one in found for note in one.notes]
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

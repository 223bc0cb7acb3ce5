"""One run of calibration: measured and mended, what to leave unanswered, and the mended model as a folder."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast import detect, models
from holdfast.data import Pictures
from holdfast.detect.guard import margin
from holdfast.errors import OptionError
from holdfast.evaluate import provenance
from holdfast.evaluate.abstaining import selective, sets
from holdfast.evaluate.asking import Answered, ask
from holdfast.files import dump_json, write_atomically
from holdfast.models import Guarded, Opened, maps
from holdfast.options import to_plain
from holdfast.uncertainty import (
    Measured,
    Outcome,
    Recalibration,
    Temperature,
    check_apart,
    halves,
    measured,
    recalibrate,
)
from holdfast.uncertainty.bins import BINS

FILE, TIMING = "calibrate.json", "timing.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """What to make of a model's confidence."""

    methods: tuple[Recalibration, ...] = (Temperature(),)  # () only measures
    keep: str | None = None  # name of the method whose model is saved: temperature if among them, else the first
    lenient: bool = False  # leave out methods for which a class has no picture, and say so, instead of raising
    bins: int = BINS  # of confidence
    risk: float = 0.05  # share of errors wanted among answered pictures, in (0, 1)
    alpha: float = 0.1  # share of sets of classes that may miss the right one, in (0, 1)
    seed: int = 0
    batch: int = 256  # pictures a call of the model

    def __post_init__(self) -> None:
        """Check the options."""
        names = [method.name for method in self.methods]
        for name in names:
            if names.count(name) > 1:
                raise OptionError(
                    f"method {name} is given {names.count(name)} times; allowed: once. Leave the others out."
                )
        if self.keep is not None and self.keep not in names:
            allowed = ", ".join(names) or "of which there is none"
            raise OptionError(f"keep={self.keep!r}; allowed: one of the methods, {allowed}.")
        if self.bins < 1:  # said before the model is asked, not after
            raise OptionError(f"bins={self.bins}; allowed: whole numbers >= 1, such as bins=15.")
        for option in ("risk", "alpha"):
            value = getattr(self, option)
            if not 0 < value < 1:
                raise OptionError(f"{option}={value}; allowed: between 0 and 1, such as {option}=0.05.")

    @property
    def kept(self) -> str | None:
        """The name of the method whose model is saved; None without methods."""
        names = [method.name for method in self.methods]
        return self.keep or ("temperature" if "temperature" in names else next(iter(names), None))


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was found, on pictures that nothing was fitted on."""

    before: Measured
    outcomes: tuple[Outcome, ...]  # one a method
    kept: Outcome | None  # the one whose model is saved
    left_out: tuple[tuple[str, str], ...]  # name of a method and why
    plain: Mapping[str, Any]  # what calibrate.json holds

    @property
    def fit_seconds(self) -> dict[str, float]:
        """How long each method took to fit."""
        return {one.method.name: round(one.seconds, 3) for one in self.outcomes}


def calibrate(
    opened: Opened,
    reported: Pictures,
    fitted_on: Pictures | None = None,
    options: CalibrationOptions | None = None,
    *,
    model_options: Mapping[str, str] | None = None,
    out: Path | None = None,
    command: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Measure a model's calibration, fit what mends it, and choose which pictures to leave unanswered.

    Args: `opened` as `holdfast.models.open_model` gives it; `reported` the pictures that every figure is on;
    `fitted_on` those that methods, threshold and sets are fitted on, without a picture in common, None for two halves
    of `reported`; `model_options` that a registered architecture was opened with; `out` a folder for calibrate.json,
    timing.json and the kept method's model, which `open_model` takes; `command` (its words) goes on record.
    Of a guarded model all is about the pictures that it answers, and the map goes behind its classifier's logits: it
    refuses the same ones afterwards.
    Raises: `OptionError` for a model that is recalibrated already, or probabilities in place of logits; `DataError` for
    shared pictures, too few of a class, or none answered; `ModelError` for answers that are not finite; `RunError` for
    files that cannot be written.
    Cost: one forward pass a picture; fits in seconds.
    Source: Guo et al. 2017, arXiv:1706.04599 (recalibration); Geifman & El-Yaniv 2017, arXiv:1705.08500 (threshold).
    """
    chosen = options or CalibrationOptions()
    _check(opened, chosen.methods, kept=out is not None)
    halved = fitted_on is None
    if fitted_on is None:
        fitted_on, reported = halves(reported, chosen.seed)
    check_apart(fitted_on, reported)
    fitted, judged = _asked(opened, fitted_on, reported, chosen.batch, progress)
    chosen, left_out = _possible(chosen, fitted, fitted_on.classes)
    found = tuple(recalibrate(chosen.methods, fitted.known, judged.known, bins=chosen.bins, seed=chosen.seed))
    before = found[0].before if found else measured(*judged.known, bins=chosen.bins, seed=chosen.seed)
    guarded = isinstance(opened.model, Guarded)
    kept = next((one for one in found if one.method.name == chosen.kept), None)
    plain = {
        **_described(opened, fitted_on, reported, halved, chosen, command),
        "answered": {"fit_on": fitted.share(), "on": judged.share()} if guarded else None,
        "before": before.to_plain(),
        "methods": [one.to_plain() for one in found],
        "kept": chosen.kept,
        "selective": selective(fitted.known, judged.known, before.curve, chosen.risk),
        "sets": sets(fitted.known, judged.known, (fitted.place, judged.place), chosen.alpha, chosen.seed),
    }
    result = Calibration(before, found, kept, left_out, plain)
    if out is not None:
        if kept is not None:
            _save(out, opened, kept, fitted, fitted_on, model_options)
        write_atomically(out / FILE, dump_json(plain))
        write_atomically(out / TIMING, dump_json({"format": 1, "fit_seconds": result.fit_seconds}))
    return result


def _check(opened: Opened, methods: Sequence[Recalibration], *, kept: bool) -> None:
    """Raises: `OptionError` for a model that cannot be recalibrated, or not as a folder."""
    if methods and kept and isinstance(opened.model, Guarded) and not detect.is_guard(opened.source):
        raise OptionError(
            f"the guarded model {opened.source!r} is no folder, which the mended one is made of; allowed: one that "
            "`detect.save` wrote. Save it first, and open that, or leave out the folder to write."
        )
    if methods and opened.card is not None and opened.card.recalibration is not None:
        raise OptionError(
            f"model {opened.source} is recalibrated already, by {opened.card.recalibration['method']}; allowed: "
            "no method (--method none), which measures it, or the model that it was made from."
        )


def _possible(
    options: CalibrationOptions, fitted: Answered, classes: Sequence[str]
) -> tuple[CalibrationOptions, tuple[tuple[str, str], ...]]:
    """The options with the methods that can be fitted, if lenient, and what was left out, with the reason."""
    counts = fitted.labels.bincount(minlength=len(classes))
    if not options.lenient or bool((counts > 0).all()):
        return options, ()
    empty = ", ".join(classes[k] for k in (counts == 0).nonzero().flatten().tolist())
    usable = tuple(method for method in options.methods if isinstance(method, Temperature))
    why = f"no picture to fit on of {empty}; only temperature needs none of each class"
    left_out = tuple((method.name, why) for method in options.methods if method not in usable)
    return replace(options, methods=usable), left_out


def _asked(
    opened: Opened,
    fitted_on: Pictures,
    reported: Pictures,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Answered, Answered]:
    """What is answered of the pictures to fit on, and of those to report."""
    total = len(fitted_on) + len(reported)

    def told(begun: int) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, _: progress(begun + done, total)

    fitted = ask(opened.model, fitted_on, batch=batch, progress=told(0))
    return fitted, ask(opened.model, reported, batch=batch, progress=told(len(fitted_on)))


def _described(
    opened: Opened,
    fitted_on: Pictures,
    reported: Pictures,
    halved: bool,
    options: CalibrationOptions,
    command: Sequence[str],
) -> dict[str, Any]:
    """What was asked for, and of what."""
    return {
        "format": FORMAT,
        "model": opened.source,
        "data": {
            "fit_on": provenance.describe_data(fitted_on),
            "on": provenance.describe_data(reported),
            "halves": halved,
            "fit_on_sha256": fitted_on.sha256(),
        },
        "bins": options.bins,
        "provenance": provenance.provenance(opened.model, reported, options.seed, command),
    }


def _save(
    folder: Path,
    opened: Opened,
    chosen: Outcome,
    fitted: Answered,
    fitted_on: Pictures,
    model_options: Mapping[str, str] | None,
) -> None:
    """Write the recalibrated model as a folder that every command takes."""
    card = opened.card or models.card_of(opened, fitted_on.shape, fitted_on.classes, model_options)
    source = {
        "name": fitted_on.name,
        "split": fitted_on.split,
        "n": len(fitted_on),
        "sha256": fitted_on.sha256(),
    }
    told = {
        "map": maps.named(chosen.map),
        "method": chosen.method.name,
        "options": to_plain(chosen.method),
        "backward": chosen.map.backward,
        "fitted_on": source,
    }
    card = replace(card, recalibration=told)
    if isinstance(opened.model, Guarded):
        before = detect.load(opened.source, opened.model.model)
        stretch = margin(chosen.map(fitted.logits)) / (margin(fitted.logits) or 1.0)
        stretch = stretch if 0 < stretch < math.inf else 1.0
        after = replace(before, model=detect.mended(before.model, chosen.map, stretch))
        detect.save(folder, after, card, detect.told(opened.source))
    else:
        models.save(folder, models.Recalibrated(opened.model, chosen.map), card)

"""How accuracy and calibration fare under shift, from the `shifts/summary.json` of one run or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from holdfast.drawing.charts import Line, lines
from holdfast.drawing.marks import marker
from holdfast.errors import RunError
from holdfast.files import read_object
from holdfast.report import words
from holdfast.report.page import environment

FOLDER, SUMMARY, BEGUN = "shifts", "summary.json", "run.json"
FORMAT = 1
MEASURES = {"accuracy": "Accuracy", "ece": "ECE", "nll": "NLL", "brier": "Brier"}
SHARES = ("accuracy", "ece")  # written in percent
DRAWN = ("accuracy", "ece", "nll")
ABOUT_ATTACK = {
    "accuracy": "Right, and broken at no radius up to this one; bands: 95 % intervals.",
    "ece": "With the confidence of each picture as the attack left it; bands: 95 % intervals.",
}
DEEPEST = 45  # percent of the ink in a cell of the heat table


@dataclass(frozen=True)
class ShiftRun:
    """A run under shift as the page needs it; `style` chooses colour and mark."""

    name: str
    style: int
    plain: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """For legends."""
        return marker(self.style)


def has_shift(folder: Path) -> bool:
    """Whether the folder holds a finished run under shift, alone or beside an attack's."""
    return (folder / FOLDER / SUMMARY).is_file()


def is_shift_alone(folder: Path) -> bool:
    """Whether the folder holds a run under shift and no attack's."""
    return (folder / FOLDER / BEGUN).is_file() and not (folder / BEGUN).is_file()


def read_shift(folder: Path, name: str, style: int) -> ShiftRun:
    """Raises: `RunError` for a run that is not finished, is damaged, or is of another format."""
    path = folder / FOLDER / SUMMARY
    if not path.is_file():
        raise RunError(
            f"{str(folder)!r} has no finished run under shift: no {FOLDER}/{SUMMARY}. Finish it by --resume, or leave "
            "it out."
        )
    plain = read_object(path)
    if plain.get("format") != FORMAT:
        raise RunError(f"{str(path)!r} has format {plain.get('format')!r}; allowed: {FORMAT}. Make it anew.")
    return ShiftRun(name, style, plain)


def page(folders: Sequence[Path]) -> str:
    """The page of runs under shift, as HTML text. Raises: as `read_shift`."""
    names = [folder.resolve().name for folder in folders]
    runs = [read_shift(folder, name, place) for place, (folder, name) in enumerate(zip(folders, names))]
    try:
        data = runs[0].plain["data"]
        told = {
            "title": " and ".join(dict.fromkeys(Path(run.plain["model"]["name"]).name for run in runs))
            + " under shift",
            "settings": [data["name"], data["split"], words.plural(data["n"], "picture")],
            "facts": [(run.name, facts(run.plain)) for run in runs],
            "several": len(runs) > 1,
            **section(runs),
        }
        return environment().get_template("shifts.html.j2").render(told)
    except (KeyError, TypeError) as error:
        raise RunError(f"{FOLDER}/{SUMMARY} of {', '.join(names)} is damaged ({error!r}). Make it anew.") from error


def section(runs: Sequence[ShiftRun]) -> dict[str, Any]:
    """What the section's template uses, by name. Raises: `RunError` for a summary that lacks something."""
    try:
        return _section(runs)
    except (KeyError, TypeError) as error:
        names = ", ".join(run.name for run in runs)
        raise RunError(f"{FOLDER}/{SUMMARY} of {names} is damaged ({error!r}). Make it anew.") from error


def _section(runs: Sequence[ShiftRun]) -> dict[str, Any]:
    corrupted = [run for run in runs if run.plain["corrupted"]]
    attacked = [run for run in runs if run.plain["attack"] is not None]
    return {
        "shift_runs": runs,
        "shift_notices": notices(runs),
        "how": how(runs),
        "shift_curves": curves(corrupted, attacked),
        "shift_measures": list(MEASURES.values()),
        "shift_tables": [(run, table(run.plain)) for run in runs],
        "heats": [(run, [(MEASURES[name], heat(run.plain, name)) for name in SHARES]) for run in corrupted],
        "error_lines": [(run, error_line(run.plain)) for run in corrupted],
    }


def notices(runs: Sequence[ShiftRun]) -> list[str]:
    """What makes runs hard to compare."""
    told = [_compared(run.plain) for run in runs]
    differ = [what for what in told[0] if any(one[what] != told[0][what] for one in told)]
    return [f"These runs differ in {', '.join(differ)}: compare with care."] if differ else []


def _compared(plain: Mapping[str, Any]) -> dict[str, Any]:
    options = plain["options"]
    return {
        "the pictures": plain["provenance"]["data_sha256"],
        "the corruptions": options["corruptions"],
        "the severities": options["severities"],
        "the table of severities": options["table"],
        "the seed of the noise": options["seed"],
    }


def value(row: Mapping[str, Any], name: str) -> float:
    """A measure of a row as JSON has it."""
    one = row[name]
    return float(one["rate"] if "rate" in one else one["value"])


def curves(corrupted: Sequence[ShiftRun], attacked: Sequence[ShiftRun]) -> list[tuple[str, str, str]]:
    """(title, SVG, what is drawn): each measure under corruption, and beside it under attack where that is known."""
    found = []
    for name, title in MEASURES.items():
        if corrupted and name in DRAWN:
            about = "Median over the corruptions; the band is their range."
            found.append((f"{title} by severity", severity_curve(corrupted, name), about))
        if attacked and name in ABOUT_ATTACK:
            found.append((f"{title} under attack", attack_curve(attacked, name), ABOUT_ATTACK[name]))
    return found


def severity_curve(runs: Sequence[ShiftRun], name: str) -> str:
    """The median over corruptions at each severity, with the range over them as a band; 0 is as they are."""
    series = []
    for run in runs:
        clean = value(run.plain["clean"], name)
        points: list[tuple[float, ...]] = [(0.0, clean, clean, clean)]
        for level in run.plain["options"]["severities"]:
            found = [value(row, name) for row in run.plain["corrupted"] if row["severity"] == level]
            if found:
                points.append((float(level), median(found), min(found), max(found)))
        series.append(Line(run.name, run.style, tuple(points)))
    title = f"{MEASURES[name]} by severity: median and range over corruptions"
    return lines(series, title=title, x_label="severity (0: as they are)", percent=name in SHARES)


def attack_curve(runs: Sequence[ShiftRun], name: str) -> str:
    """Accuracy or ECE against the radius; 0 is as they are."""
    series = []
    for run in runs:
        points: list[tuple[float, ...]] = [_with_ends(0.0, run.plain["clean"][name])]
        points += [_with_ends(float(point["eps"]), point[name]) for point in run.plain["attack"]["points"]]
        series.append(Line(run.name, run.style, tuple(points)))
    norms = dict.fromkeys(words.norm(run.plain["attack"]["threat"]) for run in runs)
    label = f"largest change allowed ({', '.join(norms)})"
    return lines(series, title=f"{MEASURES[name]} under attack", x_label=label, percent=True)


def _with_ends(x: float, told: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return x, float(told["rate"] if "rate" in told else told["value"]), float(told["low"]), float(told["high"])


def table(plain: Mapping[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(name, what it is, [(value, interval)]) of pictures as they are, of natural and of label shifts."""
    rows = [("as they are", words.plural(plain["clean"]["accuracy"]["n"], "picture"), plain["clean"])]
    notes = {one["name"]: one["notes"] for one in plain["options"]["natural"]}
    for row in plain["natural"]:
        told = [words.plural(row["accuracy"]["n"], "picture"), *notes.get(row["name"], [])]
        rows.append((row["name"], "; ".join(told), row))
    for row in plain["label_shifts"]:
        rows.append((f"classes {row['name']}", f"counts as much as {row['effective']:.0f} pictures", row))
    found = [(name, about, [_cell(row[key], key) for key in MEASURES]) for name, about, row in rows]
    if plain["corrupted"]:
        means = [sum(value(row, key) for row in plain["corrupted"]) / len(plain["corrupted"]) for key in MEASURES]
        told_means = [(_shown(mean, key), "") for mean, key in zip(means, MEASURES)]
        found.insert(1, ("corrupted", "mean over all corruptions and severities", told_means))
    return found


def _cell(told: Mapping[str, Any], name: str) -> tuple[str, str]:
    middle = told["rate"] if "rate" in told else told["value"]
    return _shown(middle, name), f"{_shown(told['low'], name)} to {_shown(told['high'], name)}"


def _shown(number: float, name: str) -> str:
    return words.percent(number) if name in SHARES else f"{number:.3f}"


def heat(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The heat table of a measure: a row a corruption, a column a severity, each with its mean and, of errors, its CE.

    The redder the worse: the larger the error, and the ECE.
    """
    levels = plain["options"]["severities"]
    cells = {(row["name"], row["severity"]): row for row in plain["corrupted"]}
    bad = {place: _badness(row, name) for place, row in cells.items()}
    worst = max([*bad.values(), 1e-12])
    rows = []
    for corruption in dict.fromkeys(row["name"] for row in plain["corrupted"]):
        there = [(corruption, level) if (corruption, level) in cells else None for level in levels]
        shown = [None if at is None else _heat_cell(cells[at], name, bad[at] / worst) for at in there]
        known = [value(cells[at], name) for at in there if at is not None]
        error = plain["errors"]["each"][corruption]
        mean = words.percent(sum(known) / len(known))
        rows.append(
            {"name": corruption, "extra": not error["counted"], "cells": shown, "mean": mean, "ce": error["ce"]}
        )
    with_ce = name == "accuracy" and plain["baseline"] is not None
    return {"levels": levels, "rows": rows, "with_ce": with_ce}


def _badness(row: Mapping[str, Any], name: str) -> float:
    return 1.0 - value(row, name) if name == "accuracy" else value(row, name)


def _heat_cell(row: Mapping[str, Any], name: str, share: float) -> dict[str, Any]:
    ends = _cell(row[name], name)[1]
    return {"text": f"{100 * value(row, name):.1f}", "shade": round(DEEPEST * share), "ends": ends}


def error_line(plain: Mapping[str, Any]) -> str:
    """The means over corruptions in a sentence or two."""
    errors, baseline = plain["errors"], plain["baseline"]
    if errors["mean"] is None:
        return "None of the 15 corruptions that a mean corruption error is over was evaluated."
    over = "the 15 corruptions" if errors["complete"] else f"{len(errors['counted'])} of the 15 corruptions"
    said = f"Mean error over {over}, not normalised: {words.percent(errors['mean'])}."
    if baseline is None:
        return f"{said} An mCE needs a baseline."
    mce, relative = words.percent(errors["mce"]), words.percent(errors["relative_mce"])
    return f"{said} Against {baseline['folder']}: mCE {mce}, relative mCE {relative}."


def how(runs: Sequence[ShiftRun]) -> str:
    """In what way pictures shift in these runs."""
    done = {"corrupted": "corrupted", "attack": "attacked"}
    ways = [" and ".join(text for key, text in done.items() if any(run.plain[key] for run in runs))]
    ways = [f"pictures are {text}" for text in ways if text]
    other = {"natural": "pictures come from elsewhere", "label_shifts": "classes come in other shares"}
    ways += [text for key, text in other.items() if any(run.plain[key] for run in runs)]
    return f"as {', and as '.join(ways) or 'pictures shift'}"


def facts(plain: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Where it comes from."""
    origin, options = plain["provenance"], plain["options"]
    severities = ", ".join(map(str, options["severities"]))
    told = {
        "Model": plain["model"]["name"],
        "Weights": origin["weights_sha256"],
        "Pictures": f"sha256 {origin['data_sha256']}",
        "Severities": severities and f"table {options['table']}: {severities}",
        "Seed of the noise": options["seed"],
        "Stored set": None if options["stored"] is None else options["stored"]["folder"],
        "Baseline": None if plain["baseline"] is None else f"sha256 {plain['baseline']['sha256']}",
        "Bins of confidence": options["bins"],
        "Versions": f"holdfast {origin['holdfast']}, torch {origin['torch']}, Python {origin['python']}",
        "Device": origin["device"],
        "Command": " ".join(origin["command"]),
    }
    return [(name, text) for name, text in told.items() if text not in ("", None)]

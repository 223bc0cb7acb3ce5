"""The page about a model's calibration, from its `calibrate.json` alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.drawing import charts
from holdfast.drawing.reliability import Bin, reliability
from holdfast.evaluate.calibration import FILE, FORMAT
from holdfast.report import words
from holdfast.report.one_file import Kind

SHARES = ("ece", "adaptive_ece", "classwise_ece", "mce", "accuracy")  # written in percent
MEASURES = {
    "ece": "ECE",
    "adaptive_ece": "adaptive ECE",
    "classwise_ece": "class-wise ECE",
    "mce": "MCE",
    "nll": "NLL",
    "brier": "Brier",
    "accuracy": "accuracy",
    "aurc": "AURC",
}


def context(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the template uses, by name."""
    fitted, reported, halves = plain["data"]["fit_on"], plain["data"]["on"], plain["data"]["halves"]
    rows = [("before", plain["before"], None)] + [(one["method"], one["after"], one) for one in plain["methods"]]
    half = "half of " if halves else ""
    return {
        "title": f"Calibration of {Path(plain['model']).name} on {reported['name']}",
        "settings": [
            reported["name"],
            f"reported on {half}{reported['split']}, {words.plural(reported['n'], 'picture')}",
            f"fitted on {half and 'the other '}{half}{fitted['split']}, {words.plural(fitted['n'], 'picture')}",
            words.plural(plain["bins"], "bin"),
            *answered(plain.get("answered")),
        ],
        "measures": list(MEASURES.values()),
        "rows": [(name, [cell(values, key) for key in MEASURES], after) for name, values, after in rows],
        "kept": plain["kept"],
        "diagrams": [(name, diagram(name, values), values["brier_parts"]) for name, values, _ in rows],
        "curve": curve(plain),
        "selective": plain["selective"],
        "sets": plain["sets"],
        "classes": reported["classes"],
        "facts": facts(plain),
    }


def answered(shares: Mapping[str, Any] | None) -> list[str]:
    """What a guarded model leaves of the pictures; nothing of another model."""
    if shares is None:
        return []
    share = shares["on"]
    return [f"{share['k']} of {share['n']} answered, which all figures are about; {share['n'] - share['k']} refused"]


def cell(values: Mapping[str, Any], name: str) -> tuple[str, str]:
    """A measure as text, and its interval, or an empty text where it has none."""
    shown = percent if name in SHARES else number
    ends = values["intervals"].get(name)
    if ends is None:
        return shown(values[name]), ""
    low, high = map(shown, ends)  # one sign of percent for both, so that more columns fit
    return shown(values[name]), f"{low.removesuffix('%').rstrip()} to {high}"


def percent(value: float) -> str:
    """A share with two digits: calibration errors are small."""
    return words.percent(value, 2)


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3f}"


def diagram(name: str, values: Mapping[str, Any]) -> str:
    """The reliability diagram, as SVG."""
    return reliability([Bin(**one) for one in values["bins"]], title=f"Accuracy over confidence, {name}", style=1)


def curve(plain: Mapping[str, Any]) -> str:
    """Risk over coverage, as SVG."""
    points = tuple((share, risk) for share, risk in plain["selective"]["curve"])
    line = charts.Line("before", 1, points)
    return charts.lines([line], title="Share of errors over share answered", x_label="share answered", percent=True)


def facts(plain: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Where it comes from."""
    origin = plain["provenance"]
    told = {
        "Model": plain["model"],
        "Weights": origin["weights_sha256"],
        "Data reported, sha256": origin["data_sha256"],
        "Data fitted on, sha256": plain["data"]["fit_on_sha256"],
        "Seed": origin["seed"],
        "Versions": f"holdfast {origin['holdfast']}, torch {origin['torch']}, Python {origin['python']}",
        "Device": origin["device"],
        "Command": " ".join(origin["command"]),
    }
    return [(name, value) for name, value in told.items() if value not in ("", None)]


KIND = Kind(FILE, FORMAT, "calibration.html.j2", context)

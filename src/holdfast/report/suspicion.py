"""The page of scores judged by unfamiliar pictures, from the folder that `holdfast ood` wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.charts import Line, lines
from holdfast.drawing.histograms import Values, histogram
from holdfast.drawing.marks import marker
from holdfast.evaluate.unfamiliar import FILE, FORMAT, SCORES_FILE
from holdfast.report import words
from holdfast.report.one_file import Kind, arrays
from holdfast.uncertainty.separation import roc

FAMILIAR, UNFAMILIAR = 1, 0  # colours of the two sets
CURVES = 5  # the sixth mark is for chance
MEASURES = {"auroc": "AUROC", "aupr_out": "AUPR, unfamiliar", "aupr_in": "AUPR, familiar", "fpr95": "FPR95"}


def context(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the template uses, by name."""
    scores = arrays(folder / SCORES_FILE)
    inside, outside = plain["data"]["inside"], plain["data"]["outside"]
    ranked = sorted(plain["scores"], key=lambda one: -one["auroc"]["value"])
    rows = [{**one, "drawn": _drawn(one["score"], scores), "style": n} for n, one in enumerate(ranked)]
    return {
        "title": f"Does it know {outside['name']} from {inside['name']}?",
        "settings": [
            f"familiar: {inside['name']}, {words.plural(inside['n'], 'picture')}",
            f"unfamiliar: {outside['name']}, {words.plural(outside['n'], 'picture')}",
        ],
        "rows": rows,
        "measures": MEASURES,
        "best": rows[0],
        "notes": [*outside["notes"], *_shared(plain)],
        "left_out": _reasons(plain["left_out"]),
        "marks": {"familiar": marker(FAMILIAR), "unfamiliar": marker(UNFAMILIAR)},
        "curves": _curves(rows, scores),
        "legend": [(marker(n), row["score"]) for n, row in enumerate(rows[:CURVES])],
        "facts": _facts(plain),
    }


def _shared(plain: Mapping[str, Any]) -> list[str]:
    count = plain["shared"]
    return [f"{words.plural(count, 'picture')} in both sets, byte for byte"] if count else []


def _reasons(left_out: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """(names, reason), each reason once."""
    reasons = dict.fromkeys(one["because"] for one in left_out)
    return [(", ".join(one["score"] for one in left_out if one["because"] == why), why) for why in reasons]


def _drawn(name: str, scores: Mapping[str, NDArray[np.float64]]) -> str:
    sets = [
        Values("familiar", FAMILIAR, scores[f"inside.{name}"]),
        Values("unfamiliar", UNFAMILIAR, scores[f"outside.{name}"]),
    ]
    return histogram(sets, title=f"Share of the pictures by {name}", x_label=f"{name}: suspicion")


def _curves(rows: Sequence[Mapping[str, Any]], scores: Mapping[str, NDArray[np.float64]]) -> str:
    series = [
        Line(one["score"], n, tuple(roc(scores[f"inside.{one['score']}"], scores[f"outside.{one['score']}"])))
        for n, one in enumerate(rows[:CURVES])
    ]
    chance = Line("chance", 5, ((0.0, 0.0), (1.0, 1.0)), dashed=True)
    return lines([*series, chance], title="Unfamiliar pictures found", x_label="false alarms, share", percent=True)


def _facts(plain: Mapping[str, Any]) -> list[tuple[str, Any]]:
    origin, known = plain["provenance"], plain["data"]["fitted_on"]
    facts = {
        "Model": plain["model"],
        "Passes a picture": plain["passes_a_picture"],
        "Features of layer": plain["layer"],
        "Fitted on": f"{known['name']}, {known['split']}, {words.plural(known['n'], 'picture')}",
        "Weights": origin["weights_sha256"],
        "Familiar pictures": f"sha256 {origin['data_sha256']}",
        "Unfamiliar pictures": f"sha256 {plain['data']['outside']['sha256']}",
        "Seed": plain["seed"],
        "Versions": f"holdfast {origin['holdfast']}, torch {origin['torch']}, Python {origin['python']}",
        "Device": origin["device"],
        "Command": " ".join(origin["command"]),
    }
    return [(name, value) for name, value in facts.items() if value not in ("", None)]


KIND = Kind(FILE, FORMAT, "suspicion.html.j2", context)

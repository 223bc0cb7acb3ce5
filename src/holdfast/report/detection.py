"""The page about a detector, from the folder that `holdfast detect evaluate` wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.charts import Line, lines
from holdfast.drawing.histograms import Values, histogram
from holdfast.drawing.marks import marker
from holdfast.drawing.pictures import png
from holdfast.evaluate.detection import ARRAYS, FILE, FORMAT
from holdfast.report import words
from holdfast.report.one_file import Kind, arrays
from holdfast.report.pictures import amplification, in_box, perturbation
from holdfast.uncertainty.separation import roc
from holdfast.uncertainty.separation.counts import LEAST

KINDS = {"clean": "clean", "oblivious": "unaware", "full": "unaware, all steps", "adaptive": "aware"}
SHOWN = 8  # pictures that slipped through, of each attack

Arrays = Mapping[str, NDArray[Any]]


def worth(plain: Mapping[str, Any]) -> str:
    """What the detector is worth once it is known, in a few sentences: by the attack that leaves the least.

    What holds is said within the radius alone: a change of any size makes every picture wrong.
    """
    judged = [one for one in plain["attacks"] if one["adaptive"]["detected"] is not None]
    worst = min(judged, key=lambda one: (one["adaptive"]["detected"]["rate"], one["attack"]))
    name, aware = plain["detector"]["name"], worst["adaptive"]
    told = f"Once it is known, {name} flags {words.percent(aware['detected']['rate'])} of what {worst['attack']} finds"
    before = worst["oblivious"]["detected"]
    told += "" if before is None else f" ({words.percent(before['rate'])} while it was not)"
    limited = [one["robust"]["rate"] for one in plain["attacks"] if not one["threat"]["minimal"]]
    told += "."
    if limited:
        radius = f"{plain['threat']['name']} {plain['threat']['eps']:.4g}"
        told += f" Within {radius}, {words.percent(min(limited))} of all pictures are answered rightly and stay so."
    return told + "".join(_cost(one) for one in judged)


def _cost(one: Mapping[str, Any]) -> str:
    """What passing the detector costs in distance, where an attack looks for the smallest change."""
    was, now = one["oblivious"]["median_size"], one["adaptive"]["median_size"]
    if not one["threat"]["minimal"] or not was or now is None:
        return ""
    held = one["adaptive"]["detected"]["rate"]
    over = "" if held == 0 else ", over the pictures where it can be passed"
    if now <= was:
        return f" To pass it costs {one['attack']} nothing: the median change is {now:.3g} ({was:.3g} unaware{over})."
    return f" To pass it costs {one['attack']} {now / was:.3g} times the median change ({was:.3g} to {now:.3g}{over})."


def context(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the template uses, by name."""
    found = arrays(folder / ARRAYS)
    name = plain["detector"]["name"]
    return {
        "title": f"Does {name} find attacks on {plain['data']['name']}?",
        "settings": [
            f"detector: {name}",
            f"refuses above {plain['threshold']:.4g}, for {words.percent(plain['false_alarms_wanted'])} false alarms",
            f"{plain['data']['name']}, {words.plural(plain['data']['n'], plain['data']['split'] + ' picture')}",
        ],
        "worth": worth(plain),
        "clean": plain["clean"],
        "rows": [_row(number, one, plain, found) for number, one in enumerate(plain["attacks"])],
        "rates": list(plain["clean"]["false_alarms_at"]),
        "marks": {text: marker(n) for n, text in enumerate(KINDS.values())},
        "facts": _facts(plain),
    }


def _row(number: int, one: Mapping[str, Any], plain: Mapping[str, Any], found: Arrays) -> dict[str, Any]:
    """What the page says and shows of one attack."""
    return {
        **one,
        "drawn": _drawn(number, one, plain, found),
        "curve": _curve(number, one, found),
        "slipped": _slipped(number, plain, found),
    }


def _suspicion(number: int, kind: str, found: Arrays) -> NDArray[np.float64] | None:
    """Of the successes of one column; None without any."""
    if f"{number}.{kind}.suspicion" not in found:
        return None
    values = found[f"{number}.{kind}.suspicion"][found[f"{number}.{kind}.success"]].astype(np.float64)
    return values if len(values) else None


def _drawn(number: int, one: Mapping[str, Any], plain: Mapping[str, Any], found: Arrays) -> str:
    sets = [Values("clean", 0, found["clean"].astype(np.float64))]
    for style, kind in enumerate(list(KINDS)[1:], 1):
        values = _suspicion(number, kind, found)
        if values is not None:
            sets.append(Values(KINDS[kind], style, values))
    title = f"Share of the pictures by suspicion, under {one['attack']}"
    return histogram(sets, title=title, x_label=f"{plain['detector']['name']}: suspicion")


def _curve(number: int, one: Mapping[str, Any], found: Arrays) -> str:
    series = []
    for style, kind in enumerate(list(KINDS)[1:], 1):
        curve = points(number, kind, found)
        if curve is not None:
            series.append(Line(KINDS[kind], style, tuple(curve)))
    chance = Line("chance", 5, ((0.0, 0.0), (1.0, 1.0)), dashed=True)
    title = f"Adversarial pictures found, {one['attack']}"
    return lines([*series, chance], title=title, x_label="false alarms, share", percent=True)


def points(number: int, kind: str, found: Arrays) -> list[tuple[float, float]] | None:
    """The ROC curve of one column, (false alarms, found); None where there are too few pictures for one.

    Pictures that are broken, but by nothing that passes for who is aware, count as found at every threshold, as in the
    table.
    """
    clean, values = found["clean"].astype(np.float64), _suspicion(number, kind, found)
    if values is None or min(len(values), len(clean)) < LEAST:
        return None
    held = 0
    if kind == "adaptive":
        held = int((found[f"{number}.oblivious.success"] & ~found[f"{number}.adaptive.success"]).sum())
    return [(alarms, (held + share * len(values)) / (held + len(values))) for alarms, share in roc(clean, values)]


def _slipped(number: int, plain: Mapping[str, Any], found: Arrays) -> dict[str, Any]:
    """Some pictures that are wrong and not refused, beside their originals."""
    low, high = plain["threat"].get("low", 0.0), plain["threat"].get("high", 1.0)
    rows = found[f"{number}.rows"][:SHOWN]
    before = [in_box(x, low, high) for x in found[f"{number}.x"][:SHOWN]]
    after = [in_box(x, low, high) for x in found[f"{number}.x_adv"][:SHOWN]]
    changes = [b - a for a, b in zip(before, after, strict=True)]
    factor = amplification(changes)
    names: Sequence[str] = plain["classes"]
    cards = [
        {
            "place": int(found["place"][row]),
            "label": names[int(found["label"][row])],
            "taken": names[int(found[f"{number}.prediction"][n])],
            "size": f"{float(found[f'{number}.size'][n]):.3g}",
            "original": png(before[n]),
            "adversarial": png(after[n]),
            "change": perturbation(changes[n], factor),
        }
        for n, row in enumerate(rows)
    ]
    return {"cards": cards, "factor": f"{factor:g}"}


def _facts(plain: Mapping[str, Any]) -> list[tuple[str, Any]]:
    origin, source = plain["provenance"], plain["threshold_from"]
    options = ", ".join(f"{name}={value}" for name, value in plain["detector"]["options"].items())
    facts = {
        "Model": plain["model"],
        "Detector": f"{plain['detector']['name']}{': ' if options else ''}{options}",
        "Gradient through it": plain["gradient"].replace("_", " "),
        "Threshold from": f"{words.plural(source['n'], 'clean picture')}, of which the classifier gets "
        f"{source['misclassified']} wrong; they count like the others",
        "Weights": origin["weights_sha256"],
        "Pictures": f"sha256 {origin['data_sha256']}",
        "Seed": plain["seed"],
        "Versions": f"holdfast {origin['holdfast']}, torch {origin['torch']}, Python {origin['python']}",
        "Device": origin["device"],
        "Command": " ".join(origin["command"]),
    }
    return [(name, value) for name, value in facts.items() if value not in ("", None)]


KIND = Kind(FILE, FORMAT, "detection.html.j2", context)

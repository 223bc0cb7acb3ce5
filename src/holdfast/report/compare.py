"""Several runs side by side: what to call them, and what keeps their numbers from being compared."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.drawing import marks
from holdfast.report import words
from holdfast.report.run import Run


def labels(runs: Sequence[Run]) -> list[str]:
    """A short name for each run, all different: its folder, with the parent folder or a number where two agree.

    A single run is called by its model, so that a folder that was moved gives the same page; of a path the last part,
    the whole being under provenance.
    """
    if len(runs) == 1:
        return [re.split(r"[/\\]", str(runs[0].summary["model"]["name"]))[-1]]
    return distinct([run.folder for run in runs])


def distinct(folders: Sequence[Path]) -> list[str]:
    """A short name for each folder, all different."""
    paths = [folder.resolve() for folder in folders]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{path.name}" for path in paths]
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def told_apart(names: Sequence[str]) -> list[tuple[str, int, str, str]]:
    """Name, place, class of its colour, and mark of each run; a run alone has the second colour, the calmer one."""
    first = 1 if len(names) == 1 else 0
    return [(name, place, marks.colour(place), marks.marker(place)) for place, name in enumerate(names, first)]


def notices(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Sentences that say which of data, threat and attack differ between the runs; empty when none does."""
    found = []
    if differ([_pictures(run) for run in runs]):
        found.append(f"The pictures differ: {each(names, [_data_text(run) for run in runs])}.")
    if differ([_threat(run) for run in runs]):
        found.append(f"The threats differ: {each(names, [threat_text(run) for run in runs])}.")
    attacks = [{"name": run.summary["attack"]["name"], "options": run.summary["attack"].get("options")} for run in runs]
    if differ(attacks):
        texts = [attack_text(run) for run in runs]
        found.append(f"The attacks differ, and a weaker attack makes a model look stronger: {each(names, texts)}.")
    return found


def title(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The heading: "cnn on digits", "ordinary and hardened on digits", "5 models on digits"."""
    return heading(names, [str(run.summary["data"]["name"]) for run in runs])


def heading(names: Sequence[str], data: Sequence[str]) -> str:
    """Which models, on which data; each set of data is named once."""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed if len(names) < 4 else f'{len(names)} models'} on {' and '.join(dict.fromkeys(data))}"


def settings(runs: Sequence[Run]) -> list[str]:
    """What was evaluated, in short texts: pictures, threat, seed; each once, however many runs share it."""
    found = []
    for run in runs:
        data = run.summary["data"]
        split = f", {data['split']} split" if data.get("split") else ""
        found += [f"{data['name']}{split}, {words.plural(data['n'], 'picture')}", threat_text(run)]
    found += [f"seed {run.summary['seed']}" for run in runs if run.summary.get("seed") is not None]
    return list(dict.fromkeys(found))


def attack_text(run: Run) -> str:
    """The attack with its options, as it writes itself."""
    attack = run.summary["attack"]
    return str(attack.get("repr") or attack["name"])


def threat_text(run: Run) -> str:
    """The threat as "L∞ within 2/255, 8/255"."""
    radii = [words.radius(point) for point in run.summary["curve"]]
    threat = run.summary["threat"]
    box = (threat.get("low", 0), threat.get("high", 1))
    inside = "" if box == (0, 1) else f" in [{box[0]:g}, {box[1]:g}]"
    return f"{words.norm(threat)} within {', '.join(radii)}{inside}"


def each(names: Sequence[str], texts: Sequence[str]) -> str:
    """Texts, each with the name that it belongs to."""
    return "; ".join(f"{name}: {text}" for name, text in zip(names, texts))


def differ(values: Sequence[Any]) -> bool:
    """Whether not all values are equal."""
    return len({json.dumps(value, sort_keys=True, default=str) for value in values}) > 1


def _pictures(run: Run) -> Any:
    """What makes two runs' pictures the same: their hash, and how they are named and counted."""
    data = run.summary["data"]
    told = [data["name"], data.get("split"), data["n"], data["classes"]]
    return [*told, run.origin.get("provenance", {}).get("data_sha256")]


def _data_text(run: Run) -> str:
    return words.pictures(run.summary["data"], run.origin.get("provenance", {}).get("data_sha256"))


def _threat(run: Run) -> Any:
    threat = run.summary["threat"]
    mask = threat.get("mask")
    where = [threat.get("norm"), mask.get("sha256") if isinstance(mask, dict) else mask, threat.get("place")]
    return [threat["name"], threat["eps"], threat.get("low", 0), threat.get("high", 1), *where]

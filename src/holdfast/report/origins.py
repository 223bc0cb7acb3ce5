"""Provenance and cost as tables: one row a fact, one column a run, rows in which the runs differ marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.report import words
from holdfast.report.run import Run

SHOWN_HASH = 12  # digits of a hash in running text; the whole one is under provenance


@dataclass(frozen=True)
class Fact:
    """One fact in every run; `differs` when not all runs say the same."""

    name: str
    values: tuple[str, ...]
    differs: bool


def provenance(runs: Sequence[Run]) -> list[tuple[str, list[Fact]]]:
    """Everything in `run.json`, the model's card and `timing.json`, in titled groups; empty groups are left out."""
    groups = [
        ("Provenance", [{**(run.origin.get("provenance") or {}), "command": run.command or None} for run in runs]),
        ("Options", [run.origin.get("options") or {} for run in runs]),
        ("Choices kept for a resumed run", [run.origin.get("choices") or {} for run in runs]),
        ("Other entries of run.json", [_others(run) for run in runs]),
        ("Model", [run.summary["model"] for run in runs]),
        ("Data", [run.origin.get("data") or {} for run in runs]),
        ("Timing, the only thing that differs between equal runs", [run.timing for run in runs]),
    ]
    return titled(groups)


def cost(runs: Sequence[Run]) -> list[Fact]:
    """Passes in all and a picture, seconds, speed, and the checks' own passes; facts that no run has are left out."""
    rows = [
        ("Forward passes a picture", [_get(run.summary, "passes", "forward_per_picture") for run in runs]),
        ("Backward passes a picture", [_get(run.summary, "passes", "backward_per_picture") for run in runs]),
        ("Forward passes", [_get(run.summary, "passes", "forward") for run in runs]),
        ("Backward passes", [_get(run.summary, "passes", "backward") for run in runs]),
        ("On another model, forward", [_get(run.summary, "passes", "forward_elsewhere") for run in runs]),
        ("On another model, backward", [_get(run.summary, "passes", "backward_elsewhere") for run in runs]),
        ("Verifier, forward", [_get(run.summary, "passes", "verify_forward") for run in runs]),
        ("Checks, forward", [_get(run.summary, "check_passes", "forward") for run in runs]),
        ("Checks, backward", [_get(run.summary, "check_passes", "backward") for run in runs]),
        ("Seconds in all", [run.timing.get("seconds") for run in runs]),
        ("Pictures a second, while attacking", [speed(run) for run in runs]),
        ("Device", [_get(run.origin, "provenance", "device") for run in runs]),
        ("Batch", [_get(run.origin, "choices", "batch") for run in runs]),
        ("Time of the stand-in, of the model's own", [_get(run.origin, "choices", "stand_in", "time") for run in runs]),
        ("Its largest difference in a logit", [_get(run.origin, "choices", "stand_in", "logits") for run in runs]),
    ]  # fmt: skip
    return known(rows)


def versions(noted: Mapping[str, Any], hashes: Mapping[str, str | None]) -> str:
    """Versions, device and seed, as far as the run noted them, and the beginnings of hashes, in one line."""
    names = {"holdfast": "holdfast", "torch": "torch", "python": "Python", "device": "device", "seed": "seed"}
    parts = [f"{text} {noted[key]}" for key, text in names.items() if noted.get(key) is not None]
    return ", ".join(parts + [f"{of} sha256 {str(value)[:SHOWN_HASH]}…" for of, value in hashes.items() if value])


def speed(run: Run) -> float | None:
    """Pictures a second: as the run noted it, else from its seconds."""
    noted = run.timing.get("pictures_per_second")
    seconds = run.timing.get("seconds")
    if isinstance(noted, int | float):
        return float(noted)
    return run.summary["data"]["n"] / seconds if isinstance(seconds, int | float) and seconds else None


def flatten(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """A nested object as dotted names and texts; a list of plain values stays on one line, other lists are numbered."""
    flat: dict[str, str] = {}
    for key, entry in value.items():
        if isinstance(entry, list) and any(isinstance(one, Mapping) for one in entry):
            entry = {str(place): one for place, one in enumerate(entry, 1)}
        if isinstance(entry, Mapping) and entry:
            flat |= flatten(entry, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = _text(entry)
    return flat


def titled(groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> list[tuple[str, list[Fact]]]:
    """Groups of nested objects, one a run, as groups of facts; empty groups are left out."""
    tables = [(title, facts(values)) for title, values in groups]
    return [(title, rows) for title, rows in tables if rows]


def known(rows: Sequence[tuple[str, Sequence[Any]]]) -> list[Fact]:
    """Rows of a name and a value a run as facts; those that no run has are left out."""
    return [fact(name, values) for name, values in rows if any(value is not None for value in values)]


def facts(values: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """Nested objects, one a run, as facts of dotted names."""
    flat = [flatten(value) for value in values]
    names = list(dict.fromkeys(name for one in flat for name in one))
    return [fact(name, [one.get(name) for one in flat]) for name in names]


def fact(name: str, values: Sequence[Any]) -> Fact:
    """One fact of all runs, its values as texts."""
    texts = tuple(words.number(value) if _is_number(value) else _text(value) for value in values)
    return Fact(name, texts, len(set(texts)) > 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if value is None or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_text(entry) for entry in value) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(entry)}" for key, entry in value.items())
    return str(value)  # numbers in full: somebody may want to type them again


def _others(run: Run) -> dict[str, Any]:
    told = {"provenance", "options", "choices", "model", "data"}
    return {key: value for key, value in run.origin.items() if key not in told}


def _get(value: Mapping[str, Any], *path: str) -> Any:
    """The entry at the end of the path, or None where the path breaks off."""
    for key in path[:-1]:
        value = value.get(key) or {}
    return value.get(path[-1])

"""Another model's run on the same corrupted pictures, by which errors are weighed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import DataError
from holdfast.evaluate.corruption_error import CorruptionErrors, Errors, corruption_errors
from holdfast.evaluate.run_folder import SUMMARY
from holdfast.evaluate.shift_result import Figures, Shifted
from holdfast.evaluate.shifted import Condition
from holdfast.files import read_object, sha256_of_file

FOLDER = "shifts"  # in a run folder


def read_baseline(folder: Path, run: Mapping[str, Any], asked: Sequence[Condition]) -> dict[str, Any]:
    """What another run's folder says of the same corrupted pictures.

    Raises: `DataError` where it was made on other pictures, severities, noise or options: with the difference.
    """
    path = folder / FOLDER
    if not (path / SUMMARY).is_file():
        raise DataError(
            f"{str(folder)!r} holds no finished run under shift; allowed: a folder that `holdfast evaluate "
            "--corruptions` wrote. Evaluate the baseline first."
        )
    found = read_object(path / SUMMARY)
    theirs, ours = found["options"], run["options"]
    pairs = [("data", found["provenance"]["data_sha256"], run["provenance"]["data_sha256"])]
    pairs += [(key, theirs[key], ours[key]) for key in ("seed", "table")]
    names = dict.fromkeys(one.name for one in asked if one.kind == "corruption")
    pairs += [(f"options of {name}", theirs["corruptions"].get(name), ours["corruptions"][name]) for name in names]
    there = [(one["name"], one["severity"]) for one in found["corrupted"]]
    for name in names:
        levels = [one.severity for one in asked if one.name == name and one.kind == "corruption"]
        pairs.append((f"severities of {name}", [s for s in levels if (name, s) in there], levels))
    changed = [f"{what}: {was!r} there, {now!r} here" for what, was, now in pairs if was != now]
    if changed:
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise DataError(
            f"the baseline {str(folder)!r} is not of these corrupted pictures: {'; '.join(changed[:4])}{more}; "
            "allowed: the same. Evaluate it with the same data, corruptions, severities, table and seed."
        )
    return {**found, "sha256": sha256_of_file(path / SUMMARY), "folder": folder.resolve().name}


def errors_of(rows: Sequence[Shifted], clean: Figures, baseline: Mapping[str, Any] | None) -> CorruptionErrors | None:
    """Corruption errors of the cells, None where there is none."""
    if not rows:
        return None
    ours = _shares(one.to_plain() for one in rows)
    if baseline is None:
        return corruption_errors(ours, _wrong(clean.to_plain()))
    theirs = _shares(baseline["corrupted"])
    return corruption_errors(ours, _wrong(clean.to_plain()), theirs, _wrong(baseline["clean"]))


def _shares(rows: Iterable[Mapping[str, Any]]) -> Errors:
    """The errors of cells as JSON has them."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["name"], {})[row["severity"]] = _wrong(row)
    return found


def _wrong(row: Mapping[str, Any]) -> float:
    told = row["accuracy"]
    return float((told["n"] - told["k"]) / told["n"])

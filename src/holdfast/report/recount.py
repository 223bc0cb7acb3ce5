"""Count the headline again from the records, so that the page shows no figure that its own folder contradicts."""

from typing import Any

import numpy as np

from holdfast.report.records import Records


def disagreements(summary: dict[str, Any], records: Records) -> list[str]:
    """Every count of `summary` that the records do not give again, each as "name: summary a, records b".

    Counted again: pictures, right before the attack, robust at every radius, and the confusions before the attack.
    """
    right = records.right
    pairs = [
        ("pictures", summary["clean"]["n"], len(records)),
        ("right before the attack", summary["clean"]["k"], int(right.sum())),
        ("robust", summary["robust"]["k"], int((right & ~records.broken[-1]).sum())),
    ]
    for point, broken in zip(summary["curve"], records.broken, strict=True):
        name = f"robust at {point.get('eps_text', point['eps'])}"
        pairs.append((name, point["robust"]["k"], int((right & ~broken).sum())))
    before = (summary.get("confusion") or {}).get("before")
    if before:
        pairs.append(("confusions before the attack that differ", 0, _differing(before, records)))
    return [f"{name}: summary {said}, records {counted}" for name, said, counted in pairs if said != counted]


def _differing(before: list[list[int]], records: Records) -> int:
    """How many cells of the K x K table differ from a count over the records."""
    told = np.asarray(before)
    counted = np.zeros_like(told)
    label, prediction = records.columns["label"], records.columns["prediction"]
    inside = (label < len(told)) & (prediction < len(told)) & (label >= 0) & (prediction >= 0)
    np.add.at(counted, (label[inside], prediction[inside]), 1)
    return int((counted != told).sum())

"""Believe the number or not: one sentence from all checks."""

from collections.abc import Sequence
from typing import Any

from holdfast.evaluate.findings import Finding

NEEDED = "randomness"  # stands for the checks that ask the model: without them nothing was questioned


def believe(findings: Sequence[Finding]) -> dict[str, Any]:
    """`{"verdict": bool, "because": one sentence}`: to be believed only when checks were made and none failed.

    The sentence names every failed check with its evidence; warnings are named but do not change the verdict.
    """
    failed = [f for f in findings if f.verdict == "fail"]
    warned = [f.name for f in findings if f.verdict == "warn"]
    made = [f for f in findings if f.verdict != "skipped"]
    if failed:
        told = "; ".join(f"{f.name}: {f.evidence.rstrip('.')}" for f in failed)
        return {"verdict": False, "because": f"{len(failed)} of {len(made)} checks failed: {told}."}
    if not any(f.name == NEEDED for f in made):
        return {"verdict": False, "because": "the checks that ask the model were not made, so nothing was questioned."}
    but = f"; {len(warned)} warned ({', '.join(warned)})" if warned else ""
    return {"verdict": True, "because": f"none of {len(made)} checks failed{but}."}

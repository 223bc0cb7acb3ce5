"""Tables of attacks that look for the smallest change: under a cap of passes, and at equal steps."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench.contest import OURS, Outcome
from bench.curves import envelope, optimality, quantile

QUARTILES = (0.25, 0.5, 0.75)


def capped_rows(outcomes: Sequence[Outcome], norm: str) -> dict[str, Any]:
    """A row for each attack, and for ours, the peers and all taken together, picture by picture."""
    ran = [outcome for outcome in outcomes if outcome.error is None]
    best = envelope([outcome.smallest[norm] for outcome in ran])
    rows = {outcome.entry.name: row(outcome, norm) | quality(outcome.smallest[norm], best) for outcome in ran}
    ours = [outcome for outcome in ran if outcome.entry.library == OURS]
    theirs = [outcome for outcome in ran if outcome.entry.library != OURS]
    together = {}
    for name, those in (("best of ours", ours), ("best of peers", theirs)):
        if those:
            together[name] = {"attacks": len(those)} | quality(envelope([o.smallest[norm] for o in those]), best)
    single = [name for name in rows if not name.startswith(f"{OURS}:")]
    return {
        "edge": finite(float(best[best.isfinite()].max())) if best.isfinite().any() else None,
        "rows": rows,
        "together": together,
        "best_single_peer": max(single, key=lambda name: rows[name]["optimality"] or 0.0) if single else None,
        "failed": {o.entry.name: {"options": plain(o), "error": o.error} for o in outcomes if o.error is not None},
    }


def quality(sizes: Tensor, best: Tensor) -> dict[str, Any]:
    """How many pictures are broken, and by how small a change."""
    lower, middle, upper = (finite(quantile(sizes, share)) for share in QUARTILES)
    return {
        "broken": int(sizes.isfinite().sum()),
        "median": middle,
        "quartiles": [lower, upper],
        "optimality": finite(optimality(sizes, best)),
        "smallest_of_all": int((sizes <= best * (1 + 1e-3)).logical_and(best.isfinite()).sum()),
    }


def row(outcome: Outcome, norm: str) -> dict[str, Any]:
    """What an attack cost, and what it gave back itself."""
    back = outcome.returned
    return {
        "library": outcome.entry.library,
        "kind": outcome.entry.kind,
        "options": plain(outcome),
        "passes": [float(outcome.forward.double().mean()), float(outcome.backward.double().mean())],
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "stopped_by_cap": outcome.stopped,
        "returned": None
        if back is None
        else {"broken": int(back.isfinite().sum()), "median": finite(quantile(back, 0.5))},
        "median_in_other_norms": {
            name: finite(quantile(sizes, 0.5)) for name, sizes in outcome.smallest.items() if name != norm
        },
        "rows_out_of_place": outcome.out_of_place,
    }


def plain(outcome: Outcome) -> dict[str, str]:
    """Settings as text."""
    return {name: str(value) for name, value in outcome.entry.options.items()}


def finite(value: float) -> float | None:
    """None for infinity and what is not a number, which JSON does not have."""
    return value if math.isfinite(value) else None


def equal_rows(rounds: Sequence[Sequence[Outcome]], norm: str) -> dict[str, Any]:
    """One kind of attack at equal steps: of each library what it found, its passes, and our CPU time over its."""
    first = rounds[0]
    failed = {o.entry.name: o.error for o in first if o.error is not None}
    kept = [o for o in first if o.error is None]
    best = envelope([o.smallest[norm] for o in kept]) if kept else torch.empty(0)
    spent = {o.entry.name: [each[i].cpu_seconds for each in rounds] for i, o in enumerate(first) if o in kept}
    ours = next((o for o in kept if o.entry.library == OURS), None)
    rows = {}
    for outcome in kept:
        name = outcome.entry.name
        rows[name] = row(outcome, norm) | quality(outcome.smallest[norm], best)
        rows[name]["cpu_seconds"] = [round(each, 3) for each in spent[name]]
        if ours is not None and outcome is not ours:
            ratios = sorted(a / b for a, b in zip(spent[ours.entry.name], spent[name], strict=True))
            rows[name]["our_time_over_its"] = {
                "median": median(ratios),
                "lowest": ratios[0],
                "highest": ratios[-1],
            }
            mine, its = ours.smallest[norm], outcome.smallest[norm]
            rows[name]["ours_smaller"] = int((mine < its * (1 - 1e-3)).sum())
            rows[name]["its_smaller"] = int((its < mine * (1 - 1e-3)).sum())
    return {"rows": rows, "failed": failed}


def number(value: float | None, digits: int = 4) -> str:
    """A size for a table; "none" where not enough pictures are broken."""
    return "none" if value is None else f"{value:.{digits}g}"


def show_capped(title: str, found: dict[str, Any]) -> None:
    """One table, best first."""
    print(f"\n{title}")
    print(f"  {'':36}{'broken':>7}{'median':>9}{'quartiles':>17}{'optimality':>12}{'passes':>8}{'CPU s':>8}")
    ordered = sorted(found["rows"].items(), key=lambda item: -(item[1]["optimality"] or 0.0))
    for name, each in [*found["together"].items(), *ordered]:
        lower, upper = map(number, each["quartiles"])
        cost = f"{sum(each['passes']):>8.0f}{each['cpu_seconds']:>8.2f}" if "passes" in each else ""
        print(
            f"  {name:36}{each['broken']:>7}{number(each['median']):>9}{lower + '-' + upper:>17}"
            f"{number(each['optimality'], 3):>12}{cost}"
        )
    for name, each in found["failed"].items():
        print(f"  {name:36}failed: {each['error']}")
    print(end="", flush=True)


def show_equal(title: str, found: dict[str, Any]) -> None:
    """One table a norm: each kind of attack, ours first."""
    print(f"\n{title}")
    print(
        f"  {'':36}{'broken':>7}{'median':>9}{'passes':>8}{'CPU s':>8}{'ours smaller':>14}{'its smaller':>13}"
        f"{'our CPU time / its':>24}"
    )
    for kind, each in found.items():
        if not any(name.startswith(f"{OURS}:") for name in each["rows"]):
            print(f"  {kind}: none of ours")
        for name, row in each["rows"].items():
            ratio, beside = row.get("our_time_over_its"), ""
            if ratio:
                spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f}-{ratio['highest']:.2f})"
                beside = f"{row['ours_smaller']:>14}{row['its_smaller']:>13}{spread:>24}"
            spent = median(row["cpu_seconds"])
            print(
                f"  {name:36}{row['broken']:>7}{number(row['median']):>9}{sum(row['passes']):>8.0f}{spent:>8.2f}"
                f"{beside}"
            )
        for name, error in each["failed"].items():
            print(f"  {name:36}failed: {error}")
    print(end="", flush=True)

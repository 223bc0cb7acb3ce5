"""Tables of how many questions pictures cost until the first success."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.contest import OURS, Outcome
from bench.curves import quantile
from bench.minimal_tables import finite, number, plain


def rows(outcomes: Sequence[Outcome], cap: int) -> dict[str, Any]:
    """A row for each attack, beside each peer ours over it, and which of ours and of theirs asks least.

    What asks least has the smallest mean where a picture that was not broken counts as the cap.
    """
    ran = {outcome.entry.name: outcome for outcome in outcomes if outcome.error is None}
    first = {name: questions(outcome) for name, outcome in ran.items()}
    common = broken_by_all(list(first.values()))
    mine = {name: each for name, each in first.items() if ran[name].entry.library == OURS}
    theirs = {name: each for name, each in first.items() if name not in mine}
    ours, peer = least(mine, cap), least(theirs, cap)
    table = {name: row(ran[name], common, cap) for name in ran}
    for name in theirs if ours is not None else ():
        table[name]["ours_over_it"] = ratios(first[ours], first[name], cap)
    return {
        "rows": table,
        "broken_by_all": 0 if common is None else int(common.sum()),
        "best_of_ours": ours,
        "best_peer": peer,
        "failed": {o.entry.name: {"options": plain(o), "error": o.error} for o in outcomes if o.error is not None},
    }


def questions(outcome: Outcome) -> Tensor:
    """(N,) float64: until the first success, infinite where there was none."""
    assert outcome.first is not None
    return outcome.first


def broken_by_all(first: Sequence[Tensor]) -> Tensor | None:
    """(N,) bool: pictures broken by all attacks that broke any; None if there are none such."""
    able = [each.isfinite() for each in first if bool(each.isfinite().any())]
    return torch.stack(able).all(0) if able else None


def capped_mean(first: Tensor, cap: int) -> float:
    """The mean number of questions, the cap where all of them were asked in vain."""
    return float(first.clamp(max=cap).mean())


def least(first: Mapping[str, Tensor], cap: int) -> str | None:
    """The name of what asks least."""
    return min(first, key=lambda name: capped_mean(first[name], cap)) if first else None


def row(outcome: Outcome, common: Tensor | None, cap: int) -> dict[str, Any]:
    """What an attack asked until it succeeded, the smallest success it saw inside the threat or out, and its cost."""
    first = questions(outcome)
    broken, asked = first.isfinite(), int(outcome.forward.sum())
    return {
        "library": outcome.entry.library,
        "kind": outcome.entry.kind,
        "options": plain(outcome),
        "pictures": len(first),
        "broken": int(broken.sum()),
        "median": finite(quantile(first, 0.5)),
        "mean_where_all_broke": mean(first, common),
        "mean_with_failures_at_cap": capped_mean(first, cap),
        "median_size": {name: median(sizes, broken) for name, sizes in outcome.smallest.items()},
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "cpu_seconds_per_1000": outcome.cpu_seconds / asked * 1000 if asked else None,
        "rows_out_of_place": outcome.out_of_place,
    }


def mean(values: Tensor, where: Tensor | None) -> float | None:
    """None if there is nothing to take it over, or it is infinite."""
    return finite(float(values[where].mean())) if where is not None and bool(where.any()) else None


def median(values: Tensor, where: Tensor) -> float | None:
    """None if there is nothing to take it over."""
    return finite(quantile(values[where], 0.5)) if bool(where.any()) else None


def ratios(ours: Tensor, its: Tensor, cap: int) -> dict[str, float | None]:
    """Ours over its: of medians, of means over pictures that both broke, and of means with failures at the cap."""
    both = ours.isfinite() & its.isfinite()
    middle, its_middle = quantile(ours, 0.5), quantile(its, 0.5)
    return {
        "median": middle / its_middle if max(middle, its_middle) < math.inf else None,
        "mean_where_both_broke": float(ours[both].mean() / its[both].mean()) if bool(both.any()) else None,
        "mean_with_failures_at_cap": capped_mean(ours, cap) / capped_mean(its, cap),
    }


def show(title: str, found: Mapping[str, Any]) -> None:
    """One table: ours and the peers, what ours cost over the best peer, and which errors came up."""
    print(f"\n{title}; {found['broken_by_all']} broken by all that broke any")
    print(
        f"  {'':36}{'broken':>8}{'median':>9}{'mean of those':>15}{'mean, cap':>11}{'L2 size':>9}{'CPU s / 1000':>14}"
        f"{'ours / it: median':>19}{'both':>7}{'cap':>7}"
    )
    for name, each in found["rows"].items():
        broken = f"{each['broken']}/{each['pictures']}"
        over = each.get("ours_over_it")
        beside = f"{number(over['median'], 3):>19}{number(over['mean_where_both_broke'], 3):>7}" if over else ""
        if over:
            beside += f"{number(over['mean_with_failures_at_cap'], 3):>7}"
        print(
            f"  {name:36}{broken:>8}{number(each['median']):>9}{number(each['mean_where_all_broke']):>15}"
            f"{number(each['mean_with_failures_at_cap']):>11}{number(each['median_size']['l2'], 3):>9}"
            f"{number(each['cpu_seconds_per_1000'], 3):>14}{beside}"
        )
    if found["best_of_ours"] and found["best_peer"]:
        over = found["rows"][found["best_peer"]]["ours_over_it"]
        shares = ", ".join(f"{name.replace('_', ' ')} {number(value, 3)}" for name, value in over.items())
        print(f"  {found['best_of_ours']} over {found['best_peer']}: {shares}")
    for name, each in found["failed"].items():
        print(f"  {name:36}failed: {each['error']}")
    for name, errors in found.get("errors", {}).items():
        for error, count in errors.items():
            print(f"  {name}: on {count} pictures {error}")
    print(end="", flush=True)

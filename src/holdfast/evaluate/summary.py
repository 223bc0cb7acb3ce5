"""All figures of the report, computed from the records, the checks and run.json alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.result import CHECKPOINTS
from holdfast.evaluate.findings import Finding
from holdfast.evaluate.job import ELSEWHERE
from holdfast.evaluate.looks import LOOKS
from holdfast.evaluate.provenance import Run, attack_names, listed_attacks
from holdfast.evaluate.statistics import Rate
from holdfast.evaluate.verdict import believe

FORMAT = 1


def summarise(
    run: Run,
    records: dict[str, Tensor],
    findings: Sequence[Finding],
    check_passes: dict[str, int],
    *,
    called: bool = True,
) -> dict[str, Any]:
    """The content of summary.json.

    Args: `run` run.json; `records` of all shards joined; `findings` of all checks; `check_passes` what they cost;
    `called` whether attacks in reserve took part.
    Rates are over all pictures; one that is wrong before any attack is not robust at any radius.
    """
    n = len(records["label"])
    curve = _curve(run, records, called)
    return {
        "format": FORMAT,
        "data": {key: run["data"][key] for key in ("name", "split", "n", "classes", "shape")},
        "model": run["model"],
        "attack": run["options"]["attack"],
        "reserves_called": called if any("when" in attack for attack in listed_attacks(run)) else None,
        "threat": {**run["options"]["threat"], "eps_text": [point["eps_text"] for point in curve]},
        "seed": run["options"]["seed"],
        "clean": Rate(int((~wrong(records)).sum()), n).to_plain(),
        "robust": curve[-1]["robust"],
        "curve": curve,
        **_smallest(records),
        "per_class": _per_class(run, records),
        "confusion": _confusion(len(run["data"]["classes"]), records),
        "passes": _passes(records, n),
        "check_passes": check_passes,
        "checks": [finding.to_plain() for finding in findings],
        "believe": believe(findings),
    }


def wrong(records: dict[str, Tensor]) -> Tensor:
    """(n,) bool: not classified as labelled before any attack."""
    return records["prediction"] != records["label"]


def own(records: dict[str, Tensor]) -> Tensor:
    """(E, n) bool: right before, and broken by the attack at this very radius."""
    return records["success"] & ~wrong(records)


def eps_text(eps: float, norm: str) -> str:
    """A radius as people write it: 8/255 for Linf radii that are grey levels, decimals otherwise.

    >>> eps_text(8 / 255, "linf"), eps_text(0.1, "linf"), eps_text(0.5, "l2")
    ('8/255', '0.1', '0.5')
    """
    short = f"{eps:.4g}"
    levels = round(eps * 255)
    if float(short) != eps and norm == "linf" and abs(eps * 255 - levels) < 1e-6:
        return f"{levels}/255"
    return short if float(short) == eps else f"{eps:.6g}"


def _curve(run: Run, records: dict[str, Tensor], called: bool) -> list[dict[str, Any]]:
    start_wrong, mine = wrong(records), own(records)
    after_rounding = start_wrong | records["success_8bit"].cumsum(0).bool()
    points = []
    for i, eps in enumerate(run["options"]["threat"]["eps"]):
        points.append(
            {
                "eps": eps,
                "eps_text": eps_text(eps, run["options"]["threat"].get("norm", run["options"]["threat"]["name"])),
                "robust": _left(records["broken"][i]),
                "own": _left(mine[i] | start_wrong),
                "robust_8bit": _left(after_rounding[i]),
                "size": _quartiles(records["size"][i][mine[i]]),
                **_views(records, i, mine[i]),
                "by": _by(run, {name: records[name][i] for name in ("attack", "forward", "backward")}, mine[i], called),
            }
        )
    return points


def _views(records: dict[str, Tensor], number: int, mine: Tensor) -> dict[str, Any]:
    """At which share of random views the broken pictures are broken too, and their originals, on average; where the
    attack averages over views."""
    if "views" not in records:
        return {}
    broken, before = (records[name][number][mine] for name in ("views", "views_before"))
    means = [float(shares.mean()) if len(shares) else None for shares in (broken, before)]
    return {"views": {"looks": LOOKS, "pictures": len(broken), "after": means[0], "before": means[1]}}


def _smallest(records: dict[str, Tensor]) -> dict[str, Any]:
    """How many of the pictures that were right the attack broke, by how large a change, with how many questions.

    At the largest radius; or at any, where the smallest change was sought. A change that was not found is infinite.
    """
    import numpy as np

    right = ~wrong(records)
    if not right.any():
        return {
            "sought": "smallest" in records,
            "success": None,
            "size": None,
            "relative_size": None,
            "queries": None,
            "course": [],
        }
    if "smallest" in records:
        size, relative = records["smallest"][right], records["smallest_relative"][right]
    else:
        size, relative = torch.where(records["success"][-1], records["size"][-1], torch.inf)[right], None
    queries = records["queries"].sum(0)[right].double().numpy()
    found = size.isfinite()
    return {
        "sought": relative is not None,
        "success": Rate(int(found.sum()), len(size)).to_plain(),
        "size": _quartiles(size),
        "relative_size": _mean(relative, found),
        "queries": {"median": float(np.median(queries)), "mean": float(queries.mean())},
        "course": _course(records, right, int(queries.max())),
    }


def _mean(relative: Tensor | None, found: Tensor) -> float | None:
    """Of the shares that were found; None where there are none."""
    if relative is None or not found.any() or relative[found].isnan().any():
        return None
    return float(relative[found].mean())


def _course(records: dict[str, Tensor], right: Tensor, most: int) -> list[dict[str, Any]]:
    """The quartiles of the smallest sizes after so many points asked, as long as any picture was asked about."""
    if "course" not in records:
        return []
    last = next((place for place, points in enumerate(CHECKPOINTS) if points >= most), len(CHECKPOINTS) - 1)
    return [
        {"queries": min(points, most), **(_quartiles(sizes[right]) or {})}
        for points, sizes in zip(CHECKPOINTS[: last + 1], records["course"])
    ]


def _by(run: Run, records: dict[str, Tensor], mine: Tensor, called: bool) -> list[dict[str, Any]]:
    """For each attack that took part: how many pictures it broke, and what those had cost by then, a picture."""
    rows = []
    held = ["when" in attack and not called for attack in listed_attacks(run)]
    for number, name in enumerate(attack_names(run)):
        if held[number]:
            continue
        these = mine & (records["attack"] == number)
        cost = {k: float(records[k][these].double().mean()) if these.any() else None for k in ("forward", "backward")}
        rows.append({"attack": name, "broken": int(these.sum()), **cost})
    return rows


def _left(lost: Tensor) -> dict[str, int | float]:
    return Rate(len(lost) - int(lost.sum()), len(lost)).to_plain()


def _quartiles(sizes: Tensor) -> dict[str, float] | None:
    if not len(sizes):
        return None
    import numpy as np  # its quantile has no limit on the number of values

    with np.errstate(invalid="ignore"):  # between two infinite sizes
        quartiles = np.nan_to_num(np.quantile(sizes.numpy(), [0.25, 0.5, 0.75]), nan=np.inf, posinf=np.inf)
    low, middle, high = (float(value) for value in quartiles)
    return {"median": middle, "q25": low, "q75": high}


def _per_class(run: Run, records: dict[str, Tensor]) -> list[dict[str, Any]]:
    right, robust = ~wrong(records), ~records["broken"][-1]
    rows = []
    for number, name in enumerate(run["data"]["classes"]):
        these = records["label"] == number
        count = {"n": these, "clean": these & right, "robust": these & robust}
        rows.append({"class": name, **{key: int(value.sum()) for key, value in count.items()}})
    return rows


def _confusion(classes: int, records: dict[str, Tensor]) -> dict[str, list[list[int]]]:
    """Label by prediction, before, and as the attacker leaves it at the largest radius.

    A broken picture is predicted as at the largest radius that broke it; one that holds keeps its prediction, so that
    the diagonal counts the robust ones.
    """
    before = after = records["prediction"]
    for prediction, broken_here in zip(records["prediction_adv"], own(records)):
        after = torch.where(broken_here, prediction, after)
    return {name: _table(records["label"], p, classes) for name, p in (("before", before), ("after", after))}


def _table(label: Tensor, prediction: Tensor, classes: int) -> list[list[int]]:
    # A model may have more outputs than the data have classes: the table is as wide as its largest prediction.
    width = max(classes, int(torch.maximum(label, prediction).max()) + 1)
    counts: list[list[int]] = (
        torch.bincount(label * width + prediction, minlength=width * width).view(width, width).tolist()
    )
    return counts


def _passes(records: dict[str, Tensor], n: int) -> dict[str, int | float]:
    """Those of the model; of another one, on which pictures were made, in entries of their own."""
    forward, backward = int(records["forward"].sum()), int(records["backward"].sum())
    elsewhere = {name: int(records[name].sum()) for name in ELSEWHERE if name in records}
    return {
        **elsewhere,
        "forward": forward,
        "backward": backward,
        "forward_per_picture": forward / n,
        "backward_per_picture": backward / n,
        "verify_forward": int(records["counted"][:, 2].sum()),
    }

"""Where a model is weakest: the pictures that break most easily, and the classes that lose most."""

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

from torch import Tensor

from holdfast.evaluate import Evaluation
from holdfast.evaluate.summary import own, wrong


@dataclass(frozen=True)
class Broken:
    """A picture that was right, and what the attack made of it at the smallest radius that breaks it."""

    index: int  # its place in the full split, as in records.csv
    label: str
    became: str
    confidence: float  # softmax probability of the class that it became
    eps_text: str
    size: float  # of the change, in the threat's norm
    attack: str


def worst_pictures(found: Evaluation, most: int) -> tuple[list[Broken], int]:
    """Up to `most` broken pictures, the most easily broken first, and how many were broken in all.

    First those that break at the smallest radius; among them by the size of the change, to three digits, then by how
    sure the model is of the wrong class. At its smallest radius, not its largest: there the change says most.
    """
    records = dict(found.records)
    mine = own(records)
    radius = mine.int().argmax(0).tolist()  # the first one, radii ascending
    rows = mine.any(0).nonzero().flatten().tolist()
    size, sure = records["size"].tolist(), records["confidence_adv"].tolist()

    def ease(row: int) -> tuple[int, float, float, int]:
        at = radius[row]
        return at, float(f"{size[at][row]:.3g}"), -sure[at][row], row

    return [_broken(found, radius[row], row) for row in nsmallest(most, rows, key=ease)], len(rows)


def wrong_before(found: Evaluation) -> list[int]:
    """The indices of the pictures that are wrong without any attack."""
    indices: list[int] = found.records["index"][wrong(dict(found.records))].tolist()
    return indices


def worst_classes(found: Evaluation, most: int) -> list[Mapping[str, Any]]:
    """Up to `most` entries of the summary's `per_class` that hold less than the whole does, the lowest rate first."""
    weak = [row for row in found.summary["per_class"] if row["n"] and row["robust"] / row["n"] < found.robust.rate]
    return sorted(weak, key=lambda row: (row["robust"] / row["n"], -row["n"]))[:most]


def _broken(found: Evaluation, at: int, row: int) -> Broken:
    attacks = [*(entry["attack"] for entry in found.summary["curve"][at]["by"]), "none"]  # -1: none claimed it

    def value(name: str, *place: int) -> Any:
        column: Tensor = found.records[name]
        return column[place].item()

    return Broken(
        index=value("index", row),
        label=_class(found, value("label", row)),
        became=_class(found, value("prediction_adv", at, row)),
        confidence=value("confidence_adv", at, row),
        eps_text=found.curve[at].eps_text,
        size=value("size", at, row),
        attack=attacks[value("attack", at, row)],
    )


def _class(found: Evaluation, number: int) -> str:
    """A class by name, by number where the data have none: a model may have more outputs."""
    names = found.summary["data"]["classes"]
    return str(names[number]) if number < len(names) else str(number)

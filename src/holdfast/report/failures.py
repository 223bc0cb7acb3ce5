"""On which pictures a model fails: classes from the hardest on, and the commonest confusions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST = 5


@dataclass(frozen=True)
class ClassRow:
    """One class: n pictures, of which `clean` are right and `robust` stay right under the attack."""

    name: str
    n: int
    clean: int
    robust: int


@dataclass(frozen=True)
class Confusion:
    """`count` of the `n` pictures of class `label` are taken for class `said`."""

    label: str
    said: str
    count: int
    n: int


def class_rows(summary: dict[str, Any]) -> list[ClassRow]:
    """The per-class counts in class order; empty when the run has none."""
    rows = summary.get("per_class") or []
    return [ClassRow(str(row["class"]), row["n"], row["clean"], row["robust"]) for row in rows]


def hardest(rows: Sequence[ClassRow]) -> list[ClassRow]:
    """Up to five classes with the lowest robust accuracy; between equals the one with more pictures lost."""
    present = [row for row in rows if row.n and row.robust < row.n]
    return sorted(present, key=lambda row: (row.robust / row.n, -(row.n - row.robust)))[:MOST]


def class_names(summary: dict[str, Any], width: int) -> list[str]:
    """The names of classes 0 to `width` - 1, by number where the data have no name: a model may have more outputs."""
    names = [str(name) for name in summary["data"]["classes"]]
    refused = summary.get("model", {}).get("refused")
    return names + ["refused" if number == refused else str(number) for number in range(len(names), width)]


def confusions(summary: dict[str, Any], when: str) -> list[Confusion]:
    """Up to five commonest "x taken for y", most pictures first, `when` "before" or "after" the attack."""
    table = (summary.get("confusion") or {}).get(when) or []
    names = class_names(summary, len(table))
    found = [
        Confusion(names[label], names[said], count, sum(row))
        for label, row in enumerate(table)
        for said, count in enumerate(row)
        if count and said != label
    ]
    return sorted(found, key=lambda one: -one.count)[:MOST]


def tables(summary: dict[str, Any]) -> list[tuple[str, list[list[int]]]]:
    """The confusion tables that the run has, with their titles."""
    confusion = summary.get("confusion") or {}
    titles = (("before", "Before the attack"), ("after", "After the attack"))
    return [(title, confusion[when]) for when, title in titles if confusion.get(when)]

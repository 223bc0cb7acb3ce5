"""The pictures shown: which ones, chosen by a fixed rule, and what became of each in every run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.drawing.pictures import LARGEST, png
from holdfast.report import words
from holdfast.report.failures import class_names
from holdfast.report.pictures import amplification, in_box, mask, perturbation
from holdfast.report.records import Records
from holdfast.report.run import Run

BROKEN, OTHERS = 12, 4


@dataclass(frozen=True)
class Fate:
    """What became of one picture in one run."""

    kind: str  # "broken", "held" or "wrong" from the start
    before: str
    sure_before: str
    after: str
    sure_after: str
    eps: str  # the smallest radius that broke it, else the largest tried
    beyond: bool  # held at all radii, and broken by a larger change
    size: str
    step: int | None
    adversarial: str | None  # PNG data URI
    change: str | None  # amplified perturbation, PNG data URI


@dataclass(frozen=True)
class Card:
    """One picture of the data set with its fate in each run."""

    index: int  # place in the full split
    label: str
    original: str
    fates: tuple[Fate, ...]


@dataclass(frozen=True)
class Group:
    """Cards of one kind and how many pictures of that kind there are."""

    kind: str
    total: int
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Gallery:
    """Everything the section needs; `factor` is the amplification of the perturbations, empty when none is shown."""

    groups: tuple[Group, ...]
    factor: str
    shrunk: bool
    masks: tuple[str, ...]  # PNG data URIs of where changes were allowed, each mask once


def aligned(runs: Sequence[Run]) -> bool:
    """Whether all runs have records of the same pictures with the same labels, so that pictures can be paired."""
    sources = _sources(runs)
    first = sources[0][1] if len(sources) == len(runs) else None
    return first is not None and all(
        np.array_equal(records.columns[name], first.columns[name])
        and run.summary["data"]["classes"] == runs[0].summary["data"]["classes"]
        for run, records in sources
        for name in ("index", "label")
    )


def gallery(runs: Sequence[Run]) -> Gallery:
    """Choose and draw pictures of `runs`, whose records must be `aligned`.

    Chosen in the order of the data set: up to 12 that every run had right and at least one lost, then up to 4 that
    every run kept, then up to 4 that at least one had wrong from the start; each time the first picture of every
    class, then the second of every class, and so on.
    """
    sources = _sources(runs)
    right = np.stack([records.right for _, records in sources])
    broken = np.stack([records.broken[-1] for _, records in sources])
    masks = {
        "broken": right.all(0) & broken.any(0),
        "held": (right & ~broken).all(0),
        "wrong": ~right.all(0),
    }
    label = sources[0][1].columns["label"]
    chosen = {kind: first_of_each(label, mask, BROKEN if kind == "broken" else OTHERS) for kind, mask in masks.items()}
    shown = [place for places in chosen.values() for place in places]
    deltas = [delta for source in sources for delta in _deltas(source, shown)]
    factor = amplification(deltas)
    groups = [
        Group(kind, int(masks[kind].sum()), tuple(_card(sources, picture, factor) for picture in places))
        for kind, places in chosen.items()
    ]
    shrunk = any(side > LARGEST for side in runs[0].summary["data"].get("shape", [1])[1:])
    threats = [run.summary["threat"] for run in runs]
    drawn = dict.fromkeys(picture for threat in threats if (picture := mask(threat.get("mask"))) is not None)
    return Gallery(tuple(groups), f"{factor:g}" if deltas else "", shrunk, tuple(drawn))


def first_of_each(label: NDArray[Any], mask: NDArray[np.bool_], most: int) -> list[int]:
    """Up to `most` places where `mask` holds: the first of each class, then the second of each; sorted by class."""
    seen: dict[int, int] = {}
    ranked = []
    for place in np.flatnonzero(mask):
        kind = int(label[place])
        ranked.append((seen.get(kind, 0), int(place)))
        seen[kind] = seen.get(kind, 0) + 1
    picked = [place for _, place in sorted(ranked)[:most]]
    return sorted(picked, key=lambda place: (int(label[place]), place))


def _sources(runs: Sequence[Run]) -> list[tuple[Run, Records]]:
    return [(run, run.records) for run in runs if run.records is not None]


def _deltas(source: tuple[Run, Records], pictures: Iterable[int]) -> list[NDArray[np.float64]]:
    """The perturbations of those pictures that this run has adversarial pictures of."""
    found = [_pair(source, picture) for picture in pictures]
    return [adversarial - original for original, adversarial in found if adversarial is not None]


def _pair(source: tuple[Run, Records], picture: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """A picture and its adversarial picture at the smallest radius that broke it, or beyond, in the box's scale."""
    run, records = source
    low, high = run.summary["threat"].get("low", 0.0), run.summary["threat"].get("high", 1.0)
    original = in_box(records.original(picture), low, high)
    eps = int(records.first_eps()[picture])
    stored = records.adversarial(picture, eps)
    return original, None if stored is None else in_box(stored, low, high)


def _card(sources: Sequence[tuple[Run, Records]], picture: int, factor: float) -> Card:
    run, records = sources[0]
    original, _ = _pair(sources[0], picture)
    fates = tuple(_fate(source, picture, factor) for source in sources)
    label = class_name(run, int(records.columns["label"][picture]))
    return Card(int(records.columns["index"][picture]), label, png(original), fates)


def _fate(source: tuple[Run, Records], picture: int, factor: float) -> Fate:
    run, records = source
    original, adversarial = _pair(source, picture)
    right, lost = bool(records.right[picture]), bool(records.broken[-1, picture])
    eps = int(records.first_eps()[picture]) if lost else -1
    text = words.radius(run.summary["curve"][eps])
    after, step = records.cell("prediction_adv", eps, picture), records.cell("step", eps, picture)
    change = records.cell("size", eps, picture)
    beyond = right and not lost and adversarial is not None
    if beyond:
        after, change = (float(records.columns[name][picture]) for name in ("smallest_prediction", "smallest"))
    return Fate(
        kind="broken" if lost else "held" if right else "wrong",
        before=class_name(run, int(records.columns["prediction"][picture])),
        sure_before=words.percent(float(records.columns["confidence"][picture])),
        after="" if after is None else class_name(run, int(after)),
        sure_after="" if beyond else words.percent(records.cell("confidence_adv", eps, picture)),
        eps=text,
        beyond=beyond,
        size=words.size(change, text),
        step=None if step is None or step < 0 else int(step),
        adversarial=None if adversarial is None else png(adversarial),
        change=None if adversarial is None else perturbation(adversarial - original, factor),
    )


def class_name(run: Run, label: int) -> str:
    """A class by name, by number where it has none; label -1 stands for an answer that was not finite."""
    return "no finite answer" if label < 0 else class_names(run.summary, label + 1)[label]

"""What is measured of each network, part by part, and the rows that come of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from holdfast.attacks import FGSM
from holdfast.data import Pictures
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.deep_defense import measuring
from holdfast.reproduce.deep_defense.settings import ACCURACY, AREAS, AT, COLUMNS, RHO, SHARES
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Row, row
from holdfast.threats import Linf

AREAS_GROUP = "area under the ROC curve of each class, on DeepFool's test pictures"
CURVE = tuple(round(0.01 * step, 2) for step in range(21))  # radii of the plot of accuracy
DRAWN = (1, 2)  # classes 2 and 3 of the report, which counts from 1


def area_of(name: str) -> str:
    """The column of areas of one network."""
    return f"AUC, {name}"


def reference(bench: Bench, name: str, defended: Part, test: Pictures) -> Part:
    """eps_ref: what the Deep Defense network of the same seed gives."""

    def work(_: Path) -> Mapping[str, Any]:
        return {"eps_ref": measuring.reference(networks.kept(bench, defended), test)}

    return bench.part(name, {"data": networks.data_of(test)}, work, seed=defended.seed, after=[defended])


def measured(bench: Bench, name: str, trained: Part, test: Pictures, reference: Part) -> Part:
    """The columns of the table, for one network; every change that FGSM makes is verified."""
    eps = [share * reference.found["eps_ref"] for share in SHARES]

    def work(folder: Path) -> Mapping[str, Any]:
        model = networks.kept(bench, trained)
        found = networks.attacked(bench, folder, model, test, Linf(eps=eps[-1]), FGSM(), eps, name="fgsm")
        rates = {AT[share]: point.own.rate for share, point in zip(SHARES, found.curve, strict=True)}
        attack = measuring.Signs(model, test)
        return {
            ACCURACY: networks.accuracy(model, test),
            RHO: measuring.rho2(model, test),
            **rates,
            "curve": [[radius, attack.accuracy(radius)] for radius in CURVE],
        }

    asked = {"data": networks.data_of(test), "shares": list(SHARES), "radii": list(CURVE)}
    return bench.part(name, asked, work, seed=trained.seed, after=[trained, reference])


def areas(bench: Bench, begin: Part, trained: Mapping[str, Part], test: Pictures) -> Part:
    """ROC curves of all networks on the pictures that DeepFool makes of the test split against the first network."""

    def work(_: Path) -> Mapping[str, Any]:
        fooling = measuring.deepfooled(networks.kept(bench, begin), test)
        found: dict[str, Any] = {"curves": {}, "right": {}}
        for name, part in trained.items():
            probabilities = networks.answers(networks.kept(bench, part), fooling).softmax(1)
            for k, area in enumerate(measuring.areas(probabilities, test.labels)):
                found[f"{name}/{k}"] = area
            found["curves"][name] = {str(k): measuring.curve(probabilities, test.labels, k) for k in DRAWN}
            found["right"][name] = float((probabilities.argmax(1) == test.labels).double().mean())
        return found

    asked = {"data": networks.data_of(test), "networks": list(trained)}
    return bench.part("areas", asked, work, seed=begin.seed, after=[begin, *trained.values()])


def samples(bench: Bench, begin: Part, test: Pictures, eps: float = 0.05, count: int = 8) -> Part:
    """A few pictures, what DeepFool and FGSM make of them, and the classes that the first network gives to each."""

    def work(_: Path) -> Mapping[str, Any]:
        model, few = networks.kept(bench, begin), test.take(slice(0, count))
        rows = torch.arange(len(few))
        kinds = {
            "original": few.x(),
            "DeepFool": measuring.deepfooled(model, few).images,
            f"FGSM, eps {eps:g}": measuring.Signs(model, few).pictures_at(eps, rows),
        }
        with torch.no_grad():
            given = {name: model(x.to(bench.device)).argmax(1).tolist() for name, x in kinds.items()}
        return {"pictures": {name: measuring.shown(x) for name, x in kinds.items()}, "given": given}

    return bench.part(
        "pictures", {"data": networks.data_of(test), "eps": eps, "count": count}, work, seed=begin.seed, after=[begin]
    )


def of_areas(parts: Sequence[Part], names: Sequence[str], test: Pictures) -> list[Row]:
    """A row for each class; the areas of all networks side by side."""
    found = []
    for k, title in enumerate(test.classes):
        known = {area_of(name): AREAS[name][k] for name in names if name in AREAS and k < len(AREAS[name])}
        read = {area_of(name): f"{name}/{k}" for name in names}
        found.append(row(f"class {k + 1}, {title}", parts, read, published=known, group=AREAS_GROUP))
    return found


def of_networks(
    parts: Mapping[str, Sequence[Part]], published: Mapping[str, Mapping[str, float]], group: str, before: str = ""
) -> list[Row]:
    """A row for each network, in the columns of the table."""
    return [
        row(f"{before}{name}", some, list(COLUMNS), published=published.get(name), group=group)
        for name, some in parts.items()
    ]

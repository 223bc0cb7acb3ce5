"""How right and how calibrated networks are on clean and on corrupted pictures, and what training them took."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.corrupt import CORRUPTIONS, EXTRA, build, corrupted
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.files import read_object
from holdfast.models import Card, Ensemble
from holdfast.options import to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.train import Recipe
from holdfast.train.folder import TIMING
from holdfast.uncertainty import accuracy, ece

COMMON = tuple(name for name in CORRUPTIONS if name not in EXTRA)  # the 15 that make up a mean corruption error
SEVERITIES = (1, 2, 3, 4, 5)
NOISE = 0  # seed of the corruptions: the same pictures for every network and every seed of training
APART = 1000  # between the seeds of an ensemble's members, so that no two ensembles share one
ACCURACY, ECE = "accuracy", "ece"
FORWARD, BACKWARD, SECONDS = "forward passes", "backward passes", "seconds of training"

Looked = Mapping[str, Any]
"""Of one network: "clean", its measures by name, and "corrupted", for each corruption its measures by severity."""


def check_corruptions(names: Sequence[str]) -> None:
    """Raises: `OptionError` for an unknown corruption, one twice, or none."""
    for name in names:
        build(name)
    if not names or len(set(names)) < len(names):
        raise OptionError(f"corruptions={tuple(names)!r}; allowed: at least one, each once.")


def trained(bench: Bench, place: str, card: Card, training: Pictures, recipe: Recipe, *, number: int = 0) -> list[Part]:
    """A network for each seed in a part of its own, with what it cost; `number` tells members of an ensemble apart."""

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        done = networks.learn(bench, folder, card, training, recipe, seed + APART * number)
        passes = [epoch.passes for epoch in done.history if epoch.passes is not None]
        return {
            FORWARD: sum(forward for forward, _ in passes),
            BACKWARD: sum(backward for _, backward in passes),
            SECONDS: read_object(folder / "model" / TIMING)["seconds"],  # those before an interruption too
            "curves": networks.curves(done),
        }

    return bench.each_seed(place, networks.settings(recipe, card, training, number=number), work)


def members(
    bench: Bench, place: str, card: Card, training: Pictures, recipe: Recipe, first: list[Part], count: int
) -> list[list[Part]]:
    """The members of ensembles, each a list of parts by seed: the network that is there already, and further ones."""
    more = (trained(bench, f"{place}-{number}", card, training, recipe, number=number) for number in range(1, count))
    return [first, *more]


def cost(parts: Sequence[Part]) -> dict[str, float]:
    """What several trainings took together."""
    return {name: sum(float(part.found[name]) for part in parts) for name in (FORWARD, BACKWARD, SECONDS)}


def joined_of(bench: Bench, parts: Sequence[Part]) -> nn.Module:
    """The networks of parts as one, by the mean of their probabilities."""
    return Ensemble([networks.kept(bench, part) for part in parts]).eval()


def asked_of(test: Pictures, names: Sequence[str]) -> dict[str, Any]:
    """What `look` depends on, for the settings of a part."""
    return {
        "data": networks.data_of(test),
        "corruptions": {name: to_plain(build(name)) for name in names},
        "noise": NOISE,
    }


def look(
    bench: Bench, models: Mapping[str, nn.Module], test: Pictures, names: Sequence[str], *, batch: int = 250
) -> dict[str, Looked]:
    """Accuracy and expected calibration error (15 bins) of each network, clean and at every corruption and severity.

    Each corrupted picture is made once, and shown to all networks; it is not rounded to 8 bits.
    Cost: 1 + 5 times the corruptions passes a picture and network.
    """
    found: dict[str, dict[str, Any]] = {
        name: {"clean": {}, "corrupted": {one: {ACCURACY: [], ECE: []} for one in names}} for name in models
    }
    for measured, answers in _answers(bench, models, test, None, 0, batch).items():
        found[measured]["clean"] = {ACCURACY: accuracy(answers, test.labels), ECE: ece(answers, test.labels)}
    for done, name in enumerate(names):
        bench.progress(done, len(names), f"looking at {name}")
        for severity in SEVERITIES:
            for measured, answers in _answers(bench, models, test, name, severity, batch).items():
                course = found[measured]["corrupted"][name]
                course[ACCURACY].append(accuracy(answers, test.labels))
                course[ECE].append(ece(answers, test.labels))
    return dict(found)


def _answers(
    bench: Bench, models: Mapping[str, nn.Module], test: Pictures, name: str | None, severity: int, batch: int
) -> dict[str, Tensor]:
    """Logits (N, K) of each network on the CPU."""
    found: dict[str, list[Tensor]] = {one: [] for one in models}
    with torch.no_grad():
        for x in _shown(test, name, severity, batch):
            there = x.to(bench.device)
            for one, model in models.items():
                found[one].append(model(there).cpu())
    return {one: torch.cat(parts) for one, parts in found.items()}


def _shown(test: Pictures, name: str | None, severity: int, batch: int) -> Iterator[Tensor]:
    for rows in torch.arange(len(test)).split(batch):
        x = test.x(rows)
        yield x if name is None else corrupted(x, name, severity, seed=NOISE, place=test.place[rows])


def at(looked: Looked, what: str, severity: int) -> float:
    """The mean over corruptions at a severity; 0 is clean."""
    return float(looked["clean"][what]) if severity == 0 else fmean(each_at(looked, what, severity))


def each_at(looked: Looked, what: str, severity: int) -> list[float]:
    """One number for each corruption at a severity from 1 to 5."""
    return [float(course[what][severity - 1]) for course in looked["corrupted"].values()]


def under_shift(looked: Looked, what: str) -> float:
    """The mean over corruptions and severities."""
    return fmean(at(looked, what, severity) for severity in SEVERITIES)

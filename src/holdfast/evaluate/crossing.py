"""Who fools whom: pictures made on each source, shown to each victim, verified there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.access.borrow import Model, float_type, home
from holdfast.attacks import Attack
from holdfast.data import Pictures
from holdfast.errors import AttackDidNothing, OptionError
from holdfast.evaluate import edges, provenance
from holdfast.evaluate.result import Progress
from holdfast.evaluate.statistics import Rate
from holdfast.evaluate.verify import Verdict, verify
from holdfast.extract import Through, same_model
from holdfast.generators import seeded
from holdfast.models import Cast, weights_sha256
from holdfast.options import to_plain
from holdfast.threats import AnyThreat, Threat, of_pixels, plain

FORMAT = 1
AT_ONCE = 500  # pictures made, then shown to all victims; none of them are kept


@dataclass(frozen=True)
class Cell:
    """What pictures made on one model do to another."""

    source: str
    victim: str
    white_box: bool  # the two are one model
    success: Rate | None  # of pictures that the victim gets right, verified; None where it gets none right
    success_8bit: Rate | None  # the same once they are rounded to 8 bits

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        rates = {name: getattr(self, name) for name in ("success", "success_8bit")}
        plain = {name: None if rate is None else rate.to_plain() for name, rate in rates.items()}
        return {"source": self.source, "victim": self.victim, "white_box": self.white_box, **plain}


@dataclass(frozen=True)
class Crossing:
    """A table of sources by victims, and where it comes from."""

    sources: tuple[str, ...]
    victims: tuple[str, ...]
    clean: Mapping[str, Rate]  # of each victim
    cells: tuple[Cell, ...]  # a row a source
    passes: Mapping[str, tuple[int, int]]  # forward and backward, of each source while pictures were made on it
    about: Mapping[str, Any]  # attack, threat, data, models, provenance

    def cell(self, source: str, victim: str) -> Cell:
        """The one of that source and victim."""
        return self.cells[self.sources.index(source) * len(self.victims) + self.victims.index(victim)]

    def to_plain(self) -> dict[str, Any]:
        """The content of transfer.json."""
        return {
            "format": FORMAT,
            **self.about,
            "sources": [{"name": n, "forward": self.passes[n][0], "backward": self.passes[n][1]} for n in self.sources],
            "victims": [{"name": name, "clean": self.clean[name].to_plain()} for name in self.victims],
            "cells": [cell.to_plain() for cell in self.cells],
        }


def cross(
    sources: Mapping[str, Model],
    victims: Mapping[str, Model],
    pictures: Pictures,
    threat: AnyThreat,
    attack: Attack,
    *,
    seed: int = 0,
    batch: int = 256,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> Crossing:
    """Attack every picture on each source, show the result to each victim, and count what the verifier confirms.

    A success counts among the pictures that the victim gets right. On the diagonal, where source and victim are one
    model, it is that of the attack in the white box: at its highest loss, as in the other cells.

    Args: `sources`, `victims` models by name, of the same classes; `pictures` in the threat's box; `threat` with one
    radius; `attack` one of our own within a radius, by gradients or scores; `seed` of its noise; `batch` pictures a
    call of a model; `command` goes on record.
    Raises: `OptionError` for no source or victim, several radii or another attack; `DataError`, `ModelError` as
    `evaluate`; `AttackDidNothing` where pictures come back from a source as they were.
    Cost: the attack on each source; for each pair two forward passes a picture and one a success.
    """
    if not sources or not victims:
        raise OptionError(
            f"transfer: {len(sources)} sources and {len(victims)} victims; allowed: at least one of each."
        )
    for name in sources.keys() & victims.keys():
        if sources[name] is not victims[name]:
            raise OptionError(f"transfer: {name!r} names two models; allowed: one. Give one of them another name.")
    edges.check_pictures(pictures, threat)
    (one,) = edges.radii(threat, None, pictures.shape)
    within = of_pixels(one, "transfer")
    throughs = {name: Through(source=model, attack=attack, name=name, batch=batch) for name, model in sources.items()}
    every = {**sources, **victims}
    for model in every.values():
        with seeded(seed, "answers", home(model, pictures.images)):
            edges.check_model(model, pictures)
    tallies: dict[tuple[str, str], Tensor] = {}
    passes: dict[str, tuple[int, int]] = {}
    total, done = len(sources) * len(pictures), 0
    for name, made_on in throughs.items():
        forward = backward = 0
        for rows in torch.arange(len(pictures)).split(AT_ONCE):
            if progress is not None:
                progress.update(done, total, f"attacking {name}")
            here = home(made_on.source, pictures.images)
            x, y = pictures.x(rows).to(here), pictures.labels[rows].to(here)
            with seeded(seed, f"{name} from {int(rows[0])}", here):
                made = made_on(None, x, y, within, seed, pictures.place[rows])
            forward, backward = forward + int(made.forward.sum()), backward + int(made.backward.sum())
            for victim, model in victims.items():
                counts = _counts(_judged(model, x, made.x_adv, y, within, batch, seed, name))
                tallies[name, victim] = tallies.get((name, victim), torch.zeros_like(counts)) + counts
            done += len(rows)
        passes[name] = forward, backward
    if progress is not None:
        progress.update(total, total, "done")
    return Crossing(
        sources=tuple(sources),
        victims=tuple(victims),
        clean={victim: Rate(int(tallies[next(iter(sources)), victim][0]), len(pictures)) for victim in victims},
        cells=tuple(
            _cell(source, victim, tallies[source, victim], same_model(sources[source], victims[victim]))
            for source in sources
            for victim in victims
        ),
        passes=passes,
        about=_about(every, pictures, within, attack, seed, batch, command),
    )


def _judged(
    model: Model, x: Tensor, x_adv: Tensor, y: Tensor, threat: Threat, batch: int, seed: int, source: str
) -> Verdict:
    """What the verifier says of the pictures, which are float32 for whatever type a victim computes in."""
    here, own = home(model, x), float_type(model)
    shown = Cast(model, own) if isinstance(model, nn.Module) and own != x.dtype else model
    try:
        with seeded(seed, "verdict", here):
            return verify(
                shown,
                x.to(here),
                x_adv.to(here),
                y.to(here),
                **edges.measured(threat),
                batch=batch,
            )
    except AttackDidNothing as error:
        raise AttackDidNothing(f"on the source {source!r}: {error}") from error


def _counts(verdict: Verdict) -> Tensor:
    """(3,) int64: right before; of those fooled; and still after rounding to 8 bits."""
    right = ~verdict.start_wrong
    masks = (right, right & verdict.success, right & verdict.success_8bit)
    return torch.stack([mask.sum() for mask in masks]).cpu()


def _cell(source: str, victim: str, tally: Tensor, white_box: bool) -> Cell:
    right, success, rounded = tally.tolist()
    rates = (Rate(success, right), Rate(rounded, right)) if right else (None, None)
    return Cell(source, victim, white_box, *rates)


def _about(
    models: Mapping[str, Model],
    pictures: Pictures,
    threat: Threat,
    attack: Attack,
    seed: int,
    batch: int,
    command: Sequence[str],
) -> dict[str, Any]:
    """What was asked for, of which models, on which pictures, with which versions."""
    origin = provenance.provenance(next(iter(models.values())), pictures, seed, command)
    return {
        "attack": {"name": attack.name, "options": to_plain(attack), "repr": repr(attack)},
        "threat": plain(threat),
        "data": provenance.describe_data(pictures),
        "models": {name: _told(model) for name, model in models.items()},
        "seed": seed,
        "batch": batch,
        "provenance": {name: value for name, value in origin.items() if name != "weights_sha256"},
    }


def _told(model: Model) -> dict[str, Any]:
    if not isinstance(model, nn.Module):
        return {"parameters": 0, "weights_sha256": None}
    return {"parameters": sum(p.numel() for p in model.parameters()), "weights_sha256": weights_sha256(model)}

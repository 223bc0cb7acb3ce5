"""What is trained, and the accuracy and calibration of four ways to use it at every severity."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.data import Pictures
from holdfast.models import MonteCarloDropout, Recalibrated
from holdfast.models.maps import Temper
from holdfast.reproduce import networks, shifted
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.networks import Sets
from holdfast.reproduce.part import Part
from holdfast.reproduce.shift.settings import (
    CLEAN,
    COLUMNS,
    DROPOUT,
    ENSEMBLE,
    METHODS,
    SHIFTED,
    SINGLE,
    TEMPERATURE,
    Settings,
    named,
)
from holdfast.reproduce.shifted import ACCURACY, ECE, SEVERITIES, Looked
from holdfast.train import card_for
from holdfast.uncertainty import Temperature


def measured(bench: Bench, settings: Settings, sets: Sets) -> list[Part]:
    """One part a seed with the numbers of all rows: `key(what, method, column)`."""
    recipe, options = settings.recipe(), dict(settings.options)
    card = card_for(settings.model, sets.training, options)
    thinned = card_for(settings.model, sets.training, {**options, "dropout": settings.dropout})
    single = shifted.trained(bench, "shift/single", card, sets.training, recipe)
    several = shifted.members(bench, "shift/member", card, sets.training, recipe, single, settings.members)
    dropped = shifted.trained(bench, "shift/dropout", thinned, sets.training, recipe)
    return [
        _judged(bench, settings, sets, seed, [parts[at] for parts in several], dropped[at])
        for at, seed in enumerate(bench.seeds)
    ]


def _judged(bench: Bench, settings: Settings, sets: Sets, seed: int, members: Sequence[Part], dropped: Part) -> Part:
    """All methods of one seed on the same pictures."""

    def work(folder: Path) -> Mapping[str, Any]:
        single = networks.kept(bench, members[0])
        temper = temperature(single, sets.validation)
        models = {
            SINGLE: single,
            TEMPERATURE: Recalibrated(single, temper).to(bench.device).eval(),
            DROPOUT: MonteCarloDropout(networks.kept(bench, dropped), settings.passes, seed).eval(),
            ENSEMBLE: shifted.joined_of(bench, members),
        }
        looked = shifted.look(bench, models, sets.test, settings.corruptions)
        return {"looked": looked, "temperature": float(temper.temperature), **numbers(looked)}

    asked = {
        **shifted.asked_of(sets.test, settings.corruptions),
        "fitted on": networks.data_of(sets.validation),
        "passes": settings.passes,
    }
    return bench.part("shift/judged", asked, work, seed=seed, after=[*members, dropped])


def temperature(model: nn.Module, clean: Pictures) -> Temper:
    """The one that clean held-out pictures ask for."""
    return Temperature().fit(networks.answers(model, clean), clean.labels)


def numbers(looked: Mapping[str, Looked]) -> dict[str, float]:
    """What the rows are read from."""
    found: dict[str, float] = {}
    for method in METHODS:
        for what in (ACCURACY, ECE):
            course = [shifted.at(looked[method], what, severity) for severity in (0, *SEVERITIES)]
            values = [*course, shifted.under_shift(looked[method], what)]
            found |= {key(what, method, column): value for column, value in zip(COLUMNS, values, strict=True)}
    assert (COLUMNS[0], COLUMNS[-1]) == (CLEAN, SHIFTED)
    return found


def key(what: str, method: str, column: str) -> str:
    """The name of a row's number in the part of all rows."""
    return f"{named(what, method)}, {column}"

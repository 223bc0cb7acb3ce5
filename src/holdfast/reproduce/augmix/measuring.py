"""What is trained for each set, and what all of it comes to on clean and corrupted pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.data import Pictures
from holdfast.reproduce import networks, shifted
from holdfast.reproduce.augmix.settings import (
    ANSWER,
    CLEAN,
    CORRUPTED,
    ECE_CLEAN,
    ECE_SHIFT,
    ENSEMBLE,
    PLAIN,
    SINGLE,
    VARIANTS,
    Settings,
    recipes,
)
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, slug
from holdfast.reproduce.shifted import ACCURACY, ECE, Looked
from holdfast.train import card_for


def measured(bench: Bench, settings: Settings, data: str) -> list[Part]:
    """One part a seed, with the numbers of all rows of a set: `key(variant, column)`."""
    test = networks.pictures(bench, data, "test", settings.tests)
    trainings = trained(bench, settings, data)
    return [
        judged(
            bench, settings, data, test, seed, {name: [some[at] for some in lists] for name, lists in trainings.items()}
        )
        for at, seed in enumerate(bench.seeds)
    ]


def trained(bench: Bench, settings: Settings, data: str) -> dict[str, list[list[Part]]]:
    """The networks of each row: one, or the ensemble's members, each a list of parts by seed."""
    training = networks.pictures(bench, data, "train", settings.pictures)
    card = card_for(settings.model, training, dict(settings.options))
    made = recipes(settings)
    place = f"augmix/{slug(data)}"
    one = {name: shifted.trained(bench, f"{place}/{slug(name)}", card, training, made[name]) for name in SINGLE}
    several = shifted.members(bench, f"{place}/member", card, training, made[PLAIN], one[PLAIN], settings.members)
    return {**{name: [parts] for name, parts in one.items()}, ENSEMBLE: several}


def judged(
    bench: Bench, settings: Settings, data: str, test: Pictures, seed: int, of: Mapping[str, Sequence[Part]]
) -> Part:
    """All rows of one seed on the same clean and corrupted pictures."""

    def work(folder: Path) -> Mapping[str, Any]:
        models = {
            name: networks.kept(bench, parts[0]) if len(parts) == 1 else shifted.joined_of(bench, parts)
            for name, parts in of.items()
        }
        looked = shifted.look(bench, models, test, settings.corruptions)
        found: dict[str, Any] = {"looked": looked}
        for name in VARIANTS:
            numbers = {**figures(looked[name]), **shifted.cost(of[name]), ANSWER: len(of[name])}
            found |= {key(name, column): value for column, value in numbers.items()}
        return found

    asked = shifted.asked_of(test, settings.corruptions)
    after = list({part.place: part for parts in of.values() for part in parts}.values())
    return bench.part(f"augmix/{slug(data)}/judged", asked, work, seed=seed, after=after)


def figures(looked: Looked) -> dict[str, float]:
    """What a row has of one network's look at the pictures."""
    return {
        CLEAN: shifted.at(looked, ACCURACY, 0),
        CORRUPTED: 1 - shifted.under_shift(looked, ACCURACY),
        ECE_CLEAN: shifted.at(looked, ECE, 0),
        ECE_SHIFT: shifted.under_shift(looked, ECE),
    }


def key(variant: str, column: str) -> str:
    """The name of a row's number in the part of all rows."""
    return f"{variant}, {column}"

"""What a training is asked for: flags laid over a recipe."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli import given
from holdfast.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.data import Pictures
    from holdfast.models import Card
    from holdfast.train import Plan


def told(**values: object) -> dict[str, object]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}


def plan_of(file: Path | None, recipe: str | None, over: Mapping[str, Any]) -> "Plan":
    """The recipe of a file, or of that name, or none, with the flags laid over it.

    Raises: `OptionError` with all that is wrong with it; also where data or model are named nowhere.
    """
    from holdfast.train import file_text, read_recipe, recipe_text

    if file is not None and recipe is not None:
        raise OptionError(f"recipe file {str(file)!r} and --recipe {recipe}; allowed: one of the two.")
    text = "" if file is None and recipe is None else file_text(file) if file else recipe_text(str(recipe))
    source = str(file or recipe or "flags")
    laid = without_empty(over)
    if not text:
        check_adversary(laid.get("adversary", {}))
    planned = read_recipe(text, source, laid)
    needed = {"--data": planned.data.name, "--model": planned.model.name}
    if lacking := [flag for flag, value in needed.items() if value is None]:
        what, names = (" and ".join(words) for words in ([flag[2:] for flag in lacking], lacking))
        raise OptionError(
            f"train: no {what} named; allowed: by {names}, or in a recipe. Add {' NAME '.join(lacking)} NAME, or take "
            "one of `holdfast list recipes`."
        )
    return planned


def without_empty(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables without those that hold nothing, so that they lay nothing over a recipe's."""
    kept = {name: without_empty(value) if isinstance(value, Mapping) else value for name, value in tables.items()}
    return {name: value for name, value in kept.items() if value not in (None, {}, [])}


def check_adversary(adversary: Mapping[str, Any]) -> None:
    """Say which flag is missing where one of adversarial training was given, and there is no recipe.

    Raises: `OptionError` for a flag that does nothing without --adversarial, and for that without --eps.
    """
    from holdfast.attacks.attack import minimal
    from holdfast.train import INNER

    attack, threat = adversary.get("attack", {}), adversary.get("threat", {})
    if adversary and "name" not in attack:
        boxed = {"--threat": "name", "--low": "low", "--high": "high"}
        given_with = {"--eps": "eps" in threat, "--set": attack, "--method": "method" in adversary}
        given_with |= {flag: name in threat for flag, name in boxed.items()}
        flag = next((name for name, there in given_with.items() if there), "--threat-set")
        raise OptionError(
            f"{flag} without --adversarial; allowed: with an attack to train against. Add --adversarial pgd."
        )
    if adversary and "eps" not in threat and not minimal(INNER.get(str(attack["name"]))):
        raise OptionError("--adversarial without --eps; allowed: with a radius in pixel units. Add --eps 8/255.")
    if "eps" in threat:
        given.number(str(threat["eps"]), "--eps")


def start_of(planned: "Plan", pictures: "Pictures") -> "tuple[Card, Mapping[str, Tensor] | None]":
    """What training starts from: a card that fits the pictures, and the weights of a run where one is named.

    That run's card says how the model is normalised, which is part of what its weights mean.
    """
    from holdfast.models import load
    from holdfast.train import card_for

    chosen = planned.model
    card = card_for(str(chosen.name), pictures, chosen.options, normalize=chosen.normalize)
    if chosen.start is None:
        return card, None
    begun, before = load(chosen.start)
    return replace(card, mean=before.mean, std=before.std), begun.state_dict()


def run_name(planned: "Plan", file: Path | None, recipe: str | None) -> Path:
    """Where the run goes that nobody named: after its recipe, or its model and data."""
    if recipe is not None or file is not None:
        return given.run_name(recipe or Path(str(file)).stem)
    adversary = planned.recipe.adversary
    hardened = f"{adversary.attack.name}-{adversary.threat.name}" if adversary else None
    return given.run_name(planned.model.name, planned.data.name, hardened)

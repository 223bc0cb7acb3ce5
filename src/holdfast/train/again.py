"""The recipe file that trains a run again, from what its train.json says."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.augment import AUGMENTATIONS, Mixup
from holdfast.data import SETS
from holdfast.data.selection import split_name
from holdfast.errors import HoldfastError, OptionError
from holdfast.models import ARCHITECTURES
from holdfast.options import describe, to_plain
from holdfast.threats import THREATS
from holdfast.train.awp import AWP
from holdfast.train.inner import INNER, inner_attack
from holdfast.train.loss import LOSSES
from holdfast.train.methods import METHODS
from holdfast.train.options import TrainOptions
from holdfast.train.penalties import PENALTIES
from holdfast.train.plan import ADVERSARIAL, TOGETHER, USUAL_THREAT, plan

Plain = Mapping[str, Any]
LEVELS = 255
PARTS = ("options", "loss", "augment", "mixup", "adversary", "awp", "penalties")  # of a recipe, as train.json has them


def recipe_of(about: Plain) -> str:
    """The text of a recipe file that trains the same again, from the content of a run's train.json.

    Options that have their usual value are left out, and so are those that do nothing beside the others. Pictures of a
    folder are called by the folder's own name, since that is all a run knows of where they lay.
    Raises: `OptionError` where the text would not read as what was trained, such as for weights that training began
    with, or for parts of one's own.
    """
    if about.get("start"):
        raise OptionError(
            f"the run began with given weights (sha256 {about['start']}), which a recipe names by their folder; "
            "allowed: weights drawn from the seed. Write the recipe by hand, with model.start."
        )
    text = toml(recipe_tables(about))
    try:
        again = plan(tomllib.loads(text))
    except HoldfastError as error:
        raise OptionError(f"the run cannot be written as a recipe: {error}") from error
    if _deciding(json.loads(json.dumps(again.recipe.plain()))) != _deciding(about):
        raise OptionError(
            "the run cannot be written as a recipe: the text reads as something else; allowed: parts that come with "
            "the library. Repeat it from Python."
        )
    return text


def recipe_tables(about: Plain) -> dict[str, Any]:
    """The nested tables of the recipe, without what is usual."""
    tables: dict[str, Any] = {"seed": about["seed"], "data": _data(about), "model": _model(about["model"])}
    tables["train"] = _train(about)
    if about["loss"] != _usual("cross-entropy", LOSSES):
        tables["loss"] = changed(about["loss"], LOSSES)
    for part, kind in (("mixup", Mixup), ("awp", AWP)):
        if about[part] is not None:
            tables[part] = changed(about[part], {part: kind}, named=False)
    if about["adversary"] is not None:
        tables["adversary"] = _adversary(about["adversary"])
    for name, family in (("augment", AUGMENTATIONS), ("penalties", PENALTIES)):
        tables[name] = [changed(part, family) for part in about[name]]
    return {name: value for name, value in tables.items() if value != [] and (value or name != "train")}


def _deciding(about: Plain) -> dict[str, Any]:
    """The parts of the recipe, without options that do nothing beside the others."""
    idle = _idle(about)
    options = {name: value for name, value in about["options"].items() if name not in idle}
    return {**{name: about[name] for name in PARTS}, "options": options}


def _idle(about: Plain) -> set[str]:
    """The options of training that do nothing."""
    idle = {name for name, (other, values) in TOGETHER.items() if about["options"][other] not in values}
    return idle if about["adversary"] is not None else idle | set(ADVERSARIAL)


def changed(part: Plain, family: Mapping[str, Any], *, named: bool = True) -> dict[str, Any]:
    """Name and options of a member of a family, without those that have their usual value."""
    usual = _usual(part["name"], family)
    own = {name: value for name, value in part.items() if name != "name" and value != usual.get(name, ...)}
    return {"name": part["name"], **own} if named else own


def _usual(name: str, family: Mapping[str, Any]) -> dict[str, Any]:
    """A member's options with their defaults, as JSON has them; those without a default are left out."""
    kind = family.get(name)
    found = {} if kind is None else {one.name: one.default for one in describe(kind) if _is_plain(one.default)}
    return {"name": name, **{key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | tuple)


def _data(about: Plain) -> dict[str, Any]:
    data = about["data"]
    found = {"name": data["name"], "limit": data["n"]}
    if split_name(data["name"])[0] not in SETS:
        found["resize"] = "x".join(map(str, about["model"]["shape"][1:]))
    return found if about["validation"] else {**found, "validation": False}


def _model(card: Plain) -> dict[str, Any]:
    """The architecture; a user's own is not normalised unless that is asked for, and has no options."""
    name, normalized = card["architecture"], card["mean"] is not None
    behind = card["mean"] if isinstance(card["mean"], str) else normalized
    base = ARCHITECTURES.get(name)
    if base is None:
        return {"name": name, "normalize": behind} if normalized else {"name": name}
    usual = to_plain(base)
    own = {option: value for option, value in card["options"].items() if value != usual.get(option, ...)}
    return {"name": name, **own} if behind is True else {"name": name, **own, "normalize": behind}


def _train(about: Plain) -> dict[str, Any]:
    own = changed({"name": "", **about["options"]}, {"": TrainOptions}, named=False)
    return {name: value for name, value in own.items() if name not in _idle(about)}


def _adversary(adversary: Plain) -> dict[str, Any]:
    attack, threat = adversary["attack"], adversary["threat"]
    usual = to_plain(inner_attack(attack["name"])) if attack["name"] in INNER else {}
    own = {name: value for name, value in attack.items() if name == "name" or value != usual.get(name, ...)}
    found: dict[str, Any] = {"attack": own, "threat": _threat(threat)}
    if adversary["method"] != _usual("hardened", METHODS):
        found["method"] = changed(adversary["method"], METHODS)
    if adversary["further"]:
        found |= {"combine": adversary["combine"], "further": [_threat(one) for one in adversary["further"]]}
    return found


def _threat(threat: Plain) -> dict[str, Any]:
    own = changed(threat, THREATS)
    own = {"name": threat["name"], **own, "eps": grey_levels(threat["eps"])}
    return own if own["name"] != USUAL_THREAT else {name: value for name, value in own.items() if name != "name"}


def grey_levels(eps: float) -> float | str:
    """A radius as 255ths, where it is whole ones and has no short form of its own.

    >>> grey_levels(8 / 255), grey_levels(0.1)
    ('8/255', 0.1)
    """
    level = round(eps * LEVELS)
    short = float(f"{eps:g}") == eps
    return f"{level}/{LEVELS}" if not short and level / LEVELS == eps else eps


def toml(tables: Plain) -> str:
    """Nested tables as TOML: plain values first, then tables, then lists of tables."""
    return "\n".join(_written(tables, ())).strip() + "\n"


def _written(tables: Plain, path: Sequence[str]) -> list[str]:
    lines = [f"{name} = {_value(value)}" for name, value in tables.items() if not _is_table(value)]
    for name, value in tables.items():
        where = ".".join((*path, name))
        if isinstance(value, Mapping):
            headed = not value or any(not _is_table(entry) for entry in value.values())
            lines += [*([f"\n[{where}]"] if headed else []), *_written(value, (*path, name))]
        elif _is_table(value):
            for entry in value:
                lines += [f"\n[[{where}]]", *_written(entry, (*path, name))]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)
    )


def _value(value: Any) -> str:
    """A value as TOML has it, which knows no null: options read "none" as nothing."""
    if value is None:
        return '"none"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)

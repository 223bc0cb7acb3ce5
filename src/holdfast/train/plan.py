"""A recipe file: data, model and all that training does, as TOML, read with every problem told at once.

    seed = 0

    [data]
    name = "mnist"

    [model]
    name = "cnn"
    width = 2

    [train]
    epochs = 20
    schedule = "cosine"

    [adversary.attack]
    name = "pgd"
    steps = 7

    [adversary.threat]
    name = "linf"
    eps = 0.3

    [[penalties]]
    name = "tv"

Tables: data, model, train, loss, augment (a list), mixup, adversary (of attack, threat, method, a list of further
threats, and combine), awp, penalties (a list).
A table with a `name` is one of a family; its other keys are the options of that one. Which there are and what they
mean is told by `holdfast list`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast import threats
from holdfast.attacks.attack import minimal
from holdfast.augment import AUGMENTATIONS, Mixup
from holdfast.errors import OptionError, OptionErrors, unknown
from holdfast.models import ARCHITECTURES
from holdfast.options import option
from holdfast.train.adversary import Adversary
from holdfast.train.awp import AWP
from holdfast.train.inner import INNER, inner_attack
from holdfast.train.loss import LOSSES
from holdfast.train.methods import METHODS
from holdfast.train.options import TrainOptions
from holdfast.train.penalties import PENALTIES
from holdfast.train.problems import Path, Plain, Problems, shown
from holdfast.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which pictures."""

    name: str | None = option(None, "a data set, or a folder with a sub-folder of pictures a class")
    limit: int | None = option(None, "only the first so many training pictures")
    resize: int | str | None = option(None, "side or HEIGHTxWIDTH, for a folder")
    validation: bool = option(True, "score the validation split after each epoch")


@dataclass(frozen=True)
class ModelChoice:
    """Which architecture, with which options."""

    name: str | None = None
    options: Plain = field(default_factory=dict)
    normalize: bool | Literal["pixels"] | None = None
    start: str | None = None  # a run whose weights training begins from


@dataclass(frozen=True)
class Plan:
    """A whole recipe file."""

    data: DataChoice
    model: ModelChoice
    recipe: Recipe
    seed: int = 0


# Options that do something only beside another one that has one of these values.
TOGETHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "momentum": ("optimiser", ("sgd",)),
    "milestones": ("schedule", ("step",)),
    "factor": ("schedule", ("step", "plateau")),
    "stalled": ("schedule", ("plateau",)),
    "average_decay": ("average", ("ema",)),
    "average_from": ("average", ("swa",)),
    "patience": ("watch", ("validation", "robust")),
}
ADVERSARIAL = ("mix", "warm_up", "attacked")  # options that do something only beside an adversary
USUAL_THREAT = "linf"
TABLES = ("data", "model", "train", "loss", "augment", "mixup", "adversary", "awp", "penalties")
ADVERSARY = ("attack", "threat", "method", "further", "combine")


def plan(given: Plain, source: str = "recipe", line: Callable[[Path], int | None] = lambda path: None) -> Plan:
    """The plan that nested tables describe.

    Args: `source` what messages call it; `line` says of a place in which line it is, if it is in one.
    Raises: `OptionError` with all that is wrong at once: unknown tables and keys with the nearest known ones, values
    that are not allowed, parts that contradict each other.
    """
    problems = Problems()
    for name in given:
        if name not in (*TABLES, "seed"):
            problems.add((name,), str(unknown("table of a recipe", name, (*TABLES, "seed"))))
    made = _plan(given, problems)
    if problems.found:
        found = [(line(path), text) for path, text in problems.found]
        found.sort(key=lambda one: math.inf if one[0] is None else one[0])
        told = [text if number is None else f"{source}, line {number}: {text}" for number, text in found]
        raise OptionError(told[0]) if len(told) == 1 else OptionErrors(told)
    assert made is not None  # there was no problem
    return made


def _plan(given: Plain, problems: Problems) -> Plan | None:
    data = problems.record(("data",), DataChoice, problems.table(("data",), given.get("data", {})))
    model = _model(problems.table(("model",), given.get("model", {})), problems)
    options = problems.record(("train",), TrainOptions, problems.table(("train",), given.get("train", {})))
    parts = _parts(given, problems)
    seed = given.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        problems.add(("seed",), f"seed={seed!r}; allowed: whole numbers >= 0.")
    _check_together(given, problems)
    if problems.found:
        return None
    recipe = problems.attempt(("train",), lambda: Recipe(options=options, **parts))
    return None if recipe is None else Plan(data, model, recipe, seed)


def _model(table: dict[str, Any], problems: Problems) -> ModelChoice:
    """The architecture; a user's own, FILE.py:FACTORY, has no options."""
    name, normalize = table.pop("name", None), table.pop("normalize", None)
    start = table.pop("start", None)
    if normalize not in (None, True, False, "pixels"):
        problems.add(("model", "normalize"), f'model.normalize={normalize!r}; allowed: true, false or "pixels".')
    if name is not None and ".py" not in str(name):
        table["name"] = name
        base = problems.member(("model",), table, "model", ARCHITECTURES)
        if base is not None:
            problems.options(("model",), type(base), table)
    elif table:
        text = f"options {', '.join(table)} of model {name!r}; allowed: with a registered name only."
        problems.add(("model", next(iter(table))), text)
    return ModelChoice(name, table, normalize, start)


def _parts(given: Plain, problems: Problems) -> dict[str, Any]:
    """Everything of a recipe but the options of training."""
    found: dict[str, Any] = {}
    if "loss" in given:
        found["loss"] = problems.named(("loss",), given["loss"], "loss", LOSSES)
    if "adversary" in given:
        found["adversary"] = _adversary(problems.table(("adversary",), given["adversary"]), problems)
    if "awp" in given:
        found["awp"] = problems.record(("awp",), AWP, problems.table(("awp",), given["awp"]))
    if "mixup" in given:
        found["mixup"] = problems.record(("mixup",), Mixup, problems.table(("mixup",), given["mixup"]))
    found["augment"] = _several("augment", "augmentation", AUGMENTATIONS, given, problems)
    found["penalties"] = _several("penalties", "penalty", PENALTIES, given, problems)
    return found


def _several(
    table: str, what: str, family: Mapping[str, type[Any]], given: Plain, problems: Problems
) -> tuple[Any, ...]:
    """The members of a family that a list of tables names, in order."""
    tables = _tables((table,), given.get(table, []), problems)
    return tuple(problems.named((table, number), one, what, family) for number, one in enumerate(tables))


def _tables(path: Path, given: Any, problems: Problems) -> Sequence[Any]:
    """A list of tables; an empty one where something else stands in its place."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        return given
    problems.add(path, f"{shown(path)}={given!r}; allowed: a list of tables, [[{shown(path)}]].")
    return ()


def _adversary(table: dict[str, Any], problems: Problems) -> Adversary | None:
    """The adversary of three tables: attack, threat and method."""
    path: Path = ("adversary",)
    for name in table:
        if name not in ADVERSARY:
            problems.add((*path, name), str(unknown("table of adversary", name, ADVERSARY)))
    attack = _attack(problems.table((*path, "attack"), table.get("attack", {})), problems)
    unlimited = minimal(attack)
    threat = _threat((*path, "threat"), table.get("threat", {}), unlimited, problems)
    method = problems.named((*path, "method"), table.get("method", {"name": "hardened"}), "method", METHODS)
    listed = _tables((*path, "further"), table.get("further", []), problems)
    further = [_threat((*path, "further", number), one, unlimited, problems) for number, one in enumerate(listed)]
    if attack is None or threat is None or method is None or None in further:
        return None
    combine = table.get("combine", "worst")
    made: Adversary | None = problems.attempt(
        path, lambda: Adversary(attack, threat, method, further=tuple(further), combine=combine)
    )
    return made


def _attack(table: dict[str, Any], problems: Problems) -> Any:
    path = ("adversary", "attack")
    name = table.get("name")
    kind = problems.member(path, table, "attack", INNER)
    before = len(problems.found)
    values = {} if kind is None else problems.options(path, kind, table)
    if kind is None or len(problems.found) > before:
        return None
    return problems.attempt(path, lambda: inner_attack(str(name), values))


def _threat(path: Path, given: Any, unlimited: bool, problems: Problems) -> Any:
    """A threat; an attack that heeds no radius needs none."""
    table = problems.table(path, given)
    name = table.setdefault("name", USUAL_THREAT)
    kind = problems.member(path, table, "threat", threats.THREATS)
    before = len(problems.found)
    values = {} if kind is None else problems.options(path, kind, table)
    if kind is None or len(problems.found) > before:
        return None
    if unlimited:
        values.setdefault("eps", 0.0)
    if "eps" not in values:
        problems.add(path, f'{shown(path)} has no eps; allowed: a radius in pixel units, such as eps = "8/255".')
        return None
    own = {key: values.pop(key) for key in threats.OWN if key in values}
    return problems.attempt(path, lambda: threats.build(str(name), options=values, **own))


def _check_together(given: Plain, problems: Problems) -> None:
    """Take in options that were given and do nothing beside the others."""
    train = given.get("train", {})
    if not isinstance(train, Mapping):
        return
    for name, (other, values) in TOGETHER.items():
        beside = train.get(other, getattr(TrainOptions, other))
        if name in train and beside not in values:
            allowed = " or ".join(f"{other}={value}" for value in values)
            text = f"train.{name} does nothing with {other}={beside!r}; allowed: with {allowed}."
            problems.add(("train", name), text)
    for name in ADVERSARIAL:
        if name in train and "adversary" not in given:
            problems.add(("train", name), f"train.{name} does nothing without an adversary; allowed: with one.")

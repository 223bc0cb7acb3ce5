"""`holdfast list`: what there is to choose from, with options and their defaults, out of the registries."""

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, is_dataclass
from itertools import takewhile
from typing import Annotated, Any

import typer

from holdfast.cli import flags
from holdfast.cli.screen import Screen, table
from holdfast.errors import unknown


@dataclass(frozen=True)
class Entry:
    """One thing that has a name."""

    name: str
    about: str  # one sentence
    options: tuple[tuple[str, str, str, str], ...] = ()  # name, default, type in words, help


def command(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT",
            help="attacks, models, data, threats, views, suites, checks, losses, training, methods, augmentations, "
            "corruptions, penalties, recipes, recalibrations, scores, detectors or reproductions.",
        ),
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """List what there is to choose from, with options and defaults."""
    if what is not None and what not in LISTS:
        raise unknown("list", what, LISTS)
    screen = Screen(plain=json, quiet=quiet)
    lists = {name: list(LISTS[name]()) for name in ([what] if what else LISTS)}
    shown: list[Any] = []
    for name, entries in lists.items():
        shown += [f"{name}:"] if what is None else []
        shown += [table(("name", "what it is"), [(entry.name, entry.about) for entry in entries])]
        for entry in entries:
            if entry.options and what is not None:
                shown += ["", table((f"{entry.name}: option", "default", "allowed", "what it is"), entry.options)]
        shown += [""] if what is None else []
    screen.result({name: {e.name: _plain(e) for e in entries} for name, entries in lists.items()}, *shown)


def _plain(entry: Entry) -> dict[str, Any]:
    keys = ("name", "default", "type", "help")
    return {"about": entry.about, "options": [dict(zip(keys, option)) for option in entry.options]}


def _attacks() -> Iterable[Entry]:
    from holdfast.attacks import ATTACKS
    from holdfast.extract import UNIVERSAL

    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in {**ATTACKS, **UNIVERSAL}.items()]


def _models() -> Iterable[Entry]:
    from holdfast.models import ARCHITECTURES

    return [Entry(name, first_sentence(type(a)), options_of(a)) for name, a in ARCHITECTURES.items()]


def _data() -> Iterable[Entry]:
    from holdfast.data import SETS

    return [Entry(name, known.title) for name, known in SETS.items()]


def _threats() -> Iterable[Entry]:
    from holdfast.threats import OWN, THREATS

    return [
        Entry(name, first_sentence(threat), tuple(row for row in options_of(threat) if row[0] not in OWN))
        for name, threat in THREATS.items()
    ]


def _views() -> Iterable[Entry]:
    from holdfast.attacks import Views

    return [Entry("views", first_sentence(Views), options_of(Views))]


def _suites() -> Iterable[Entry]:
    from holdfast.evaluate import SUITES

    return [Entry(name, suite.about) for name, suite in SUITES.items()]


def _checks() -> Iterable[Entry]:
    from holdfast.evaluate.checks import RECORD_CHECKS, SAMPLE_CHECKS

    titles = {check.name: check.title for check in (*SAMPLE_CHECKS, *RECORD_CHECKS)}
    return [Entry(name, title) for name, title in titles.items()]


def _losses() -> Iterable[Entry]:
    from holdfast.losses import OBJECTIVES

    return [Entry(name, first_sentence(objective)) for name, objective in OBJECTIVES.items()]


def _training() -> Iterable[Entry]:
    from holdfast.train import LOSSES, TrainOptions

    options = [Entry("train", first_sentence(TrainOptions), options_of(TrainOptions))]
    return [*options, *(Entry(f"loss {name}", first_sentence(kind), options_of(kind)) for name, kind in LOSSES.items())]


def _methods() -> Iterable[Entry]:
    from holdfast.train import METHODS

    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in METHODS.items()]


def _augmentations() -> Iterable[Entry]:
    from holdfast.augment import AUGMENTATIONS, Mixup

    kinds: dict[str, Any] = {**AUGMENTATIONS, "mixup": Mixup}
    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in kinds.items()]


def _corruptions() -> Iterable[Entry]:
    from holdfast.corrupt import CORRUPTIONS

    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in CORRUPTIONS.items()]


def _penalties() -> Iterable[Entry]:
    from holdfast.train import PENALTIES

    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in PENALTIES.items()]


def _recipes() -> Iterable[Entry]:
    from holdfast.train import shipped

    return [Entry(name, about(text)) for name, text in shipped().items()]


def _recalibrations() -> Iterable[Entry]:
    from holdfast.uncertainty import RECALIBRATIONS, SETS

    kinds: dict[str, Any] = {**RECALIBRATIONS, **{f"sets {name}": kind for name, kind in SETS.items()}}
    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in kinds.items()]


def about(recipe: str) -> str:
    """What the comment at the head of a recipe says, as one line."""
    head = takewhile(lambda line: line.startswith("#"), recipe.splitlines())
    return " ".join(line.removeprefix("#").strip() for line in head).removesuffix(".")


def _scores() -> Iterable[Entry]:
    from holdfast.uncertainty import SCORES

    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in SCORES.items()]


def _detectors() -> Iterable[Entry]:
    from holdfast.detect import OWN
    from holdfast.uncertainty import SCORES

    return [Entry(name, first_sentence(kind), options_of(kind)) for name, kind in {**OWN, **SCORES}.items()]


def _reproductions() -> Iterable[Entry]:
    from holdfast.reproduce import REPRODUCTIONS

    return [Entry(name, one.title) for name, one in REPRODUCTIONS.items()]


LISTS: dict[str, Callable[[], Iterable[Entry]]] = {
    "attacks": _attacks,
    "models": _models,
    "data": _data,
    "threats": _threats,
    "views": _views,
    "suites": _suites,
    "checks": _checks,
    "losses": _losses,
    "training": _training,
    "methods": _methods,
    "augmentations": _augmentations,
    "corruptions": _corruptions,
    "penalties": _penalties,
    "recipes": _recipes,
    "recalibrations": _recalibrations,
    "scores": _scores,
    "detectors": _detectors,
    "reproductions": _reproductions,
}


def first_sentence(thing: object) -> str:
    """The first sentence of a docstring, without its full stop."""
    text = " ".join((thing.__doc__ or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")


def options_of(record: object) -> tuple[tuple[str, str, str, str], ...]:
    """The options of a frozen record or its type, as the listing shows them."""
    from holdfast.options import describe

    if not is_dataclass(record):
        return ()
    return tuple((o.name, _shown(o.default), o.type, o.help) for o in describe(record))


def _shown(default: object) -> str:
    if default is MISSING:
        return "must be given"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)

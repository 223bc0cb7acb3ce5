"""Robust overfitting: few pictures, many epochs; the last network against the best one by validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.attacks import PGD
from holdfast.drawing.charts import Line, lines
from holdfast.errors import OptionError
from holdfast.models import load
from holdfast.options import option, to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part, slug
from holdfast.reproduce.plots import by_epoch, legend
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, descending, falling, judged, mean_of, row
from holdfast.reproduce.trade_off import ground as shared
from holdfast.reproduce.trade_off.course import Course
from holdfast.reproduce.trade_off.ground import Ground
from holdfast.threats import Linf
from holdfast.train import Recipe
from holdfast.train.history import best_of

GROUP = "S5 robust overfitting"
TRAIN, VALIDATION, TEST, NATURAL = "robust, training", "robust, validation", "robust, test", "natural, test"
EPOCH = "epoch"
LAST, BEST = "last epoch", "best epoch by validation"


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """PGD training on few pictures for many epochs at one step size, so that it never stops fitting them.

    The source lets the step size fall, and sees robust test accuracy fall after that. The small network here fits too
    slowly then to overfit in a few minutes. Validation is attacked at full eps from the first epoch (see `Ground`).
    Source: Rice, Wong & Kolter 2020, arXiv:2002.11569.
    """

    training: int = option(1000, "training pictures")
    validation: int = option(300, "validation pictures, attacked after every epoch to choose the best")
    width: float = option(1.0, "of the cnn")
    eps: float = option(0.1, "radius in Linf")
    epochs: int = option(120, "of training")
    learning_rate: float = option(0.003, "of AdamW, constant")
    scored: int = option(200, "training and test pictures attacked after every epoch, for the curves")
    score_steps: int = option(10, "of PGD on these")

    def __post_init__(self) -> None:
        if min(self.training, self.validation, self.scored) < 1 or self.epochs < 2:
            raise OptionError(f"{self!r}: allowed: pictures from 1, epochs from 2. Leave them as they are.")

    def scorer(self) -> PGD:
        """The short attack of the curves."""
        return PGD(steps=self.score_steps, step_size=2.5 / self.score_steps)


def measure(bench: Bench, ground: Ground, settings: Overfitting) -> Table:
    """One training a seed; the best and the last weights of it attacked on the test pictures."""
    parts = _parts(bench, ground, settings)
    columns = (EPOCH, NATURAL, TRAIN, VALIDATION, TEST)
    rows = [row(name, parts, {column: f"{name}, {column}" for column in columns}, group=GROUP) for name in (BEST, LAST)]
    return Table(_columns(settings, ground), tuple(rows), _orderings(rows), _plots(settings, parts))


def _parts(bench: Bench, ground: Ground, settings: Overfitting) -> list[Part]:
    """A training for every seed, scored after each epoch, and both of its networks attacked."""
    sets = networks.Sets(
        shared.training(bench, ground, settings.training),
        networks.pictures(bench, ground.data, "validation", settings.validation),
        shared.testing(bench, ground),
    )
    card, chosen = shared.card_of(sets.training, settings.width), _recipe(ground, settings)
    few = slice(0, settings.scored)
    scored = {"robust_training": sets.training.take(few), "robust_test": sets.test.take(few)}

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        course = Course(card, scored, settings.scorer(), Linf(eps=settings.eps), folder, seed)
        course.catch_up()
        trained = networks.learn(
            bench,
            folder,
            card,
            sets.training,
            chosen,
            seed,
            validation=sets.validation,
            on_epoch=lambda epoch: course.catch_up(),
        )
        kept, history = trained.model, trained.history
        last, found = _last(folder / "model", kept), dict[str, Any]()
        for name, model, epoch in ((BEST, kept, best_of(history, "robust")), (LAST, last, history[-1])):
            found |= _judged(bench, ground, folder, model.to(bench.device), sets, settings, name)
            found |= {f"{name}, {EPOCH}": epoch.number, f"{name}, {VALIDATION}": epoch.watched("robust")}
        return found | {"curves": {**networks.curves(trained), **course.read()}}

    judges = {"judge": to_plain(ground.judge()), "scored": [settings.scored, settings.score_steps]}
    asked = networks.settings(chosen, card, sets.training, sets.validation, sets.test, **judges)
    return bench.each_seed("overfitting", asked, work)


def _recipe(ground: Ground, settings: Overfitting) -> Recipe:
    """PGD training that keeps the best weights by robust accuracy on the validation pictures."""
    return shared.recipe(
        ground,
        eps=settings.eps,
        epochs=settings.epochs,
        schedule="constant",
        learning_rate=settings.learning_rate,
        watch="robust",
        attacked=settings.validation,
    )


def _last(folder: Path, kept: nn.Module) -> nn.Module:
    """The network after the last epoch; where that is the best one there is no other."""
    return load(folder / "last")[0] if (folder / "last").is_dir() else kept


def _judged(
    bench: Bench, ground: Ground, folder: Path, model: nn.Module, sets: networks.Sets, settings: Overfitting, name: str
) -> dict[str, float]:
    """Accuracy on the test pictures, and under attack on these and on the training pictures."""
    rates = {}
    for column, pictures in ((TEST, sets.test), (TRAIN, sets.training)):
        place = slug(f"{name} {column}")
        found = networks.attacked(
            bench, folder, model, pictures, Linf(eps=settings.eps), ground.judge(), [settings.eps], name=place
        )
        rates[f"{name}, {column}"] = found.robust.rate
        if column == TEST:
            rates[f"{name}, {NATURAL}"] = found.clean.rate
    return rates


def _columns(settings: Overfitting, ground: Ground) -> tuple[Column, ...]:
    within = f"within {settings.eps:g} in Linf"
    return (
        Column(EPOCH, "number"),
        Column(NATURAL, about="share of the test pictures that are classified rightly"),
        Column(
            TRAIN, about=f"all {settings.training} training pictures under PGD of {ground.test_steps} steps {within}"
        ),
        Column(VALIDATION, about="validation pictures under the attack that training watches; it chose the best epoch"),
        Column(TEST, about="test pictures under the attack of the first"),
    )


def _orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    return (
        falling(
            "Training on overfits: the last network is less robust on the test pictures than the best one, which "
            "stopping early by robust validation accuracy keeps.",
            rows,
            TEST,
            [BEST, LAST],
        ),
        falling("Meanwhile robust accuracy on the training pictures keeps rising.", rows, TRAIN, [LAST, BEST]),
        descending("In the end it is higher there than on the test pictures.", rows, [(LAST, TRAIN), (LAST, TEST)]),
        _more_than_natural(rows),
    )


def _more_than_natural(rows: Sequence[Row]) -> Ordering:
    """What is lost from the best epoch to the last, of robust and of natural accuracy."""
    robust, natural = (mean_of(rows, BEST, column) - mean_of(rows, LAST, column) for column in (TEST, NATURAL))
    numbers = {f"lost of {TEST}": robust, f"lost of {NATURAL}": natural}
    return judged("Natural accuracy on the test pictures loses less of it, or gains.", robust > natural, numbers)


def _plots(settings: Overfitting, parts: Sequence[Part]) -> tuple[Plot, ...]:
    """The curves of the first seed."""
    part, title = parts[0], "Robust accuracy over the epochs"
    curves = part.found["curves"]
    shown = (
        ("training pictures", curves["robust_training"]),
        ("validation pictures", curves["robust"]),
        ("test pictures", curves["robust_test"]),
    )
    drawn = [Line(name, style, by_epoch(rates)) for style, (name, rates) in enumerate(shown)]
    svg = lines(drawn, title=title, x_label="epoch", percent=True)
    best = part.found[f"{BEST}, {EPOCH}"]
    caption = (
        f"Seed {part.seed}. Within {settings.eps:g} in Linf, {settings.scored} pictures of training and test under "
        f"{settings.score_steps} steps of PGD after every epoch. The best epoch by validation is {best}."
    )
    return (Plot(title, svg, caption, legend(drawn), GROUP),)

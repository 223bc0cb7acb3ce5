"""Robust overfitting: few pictures, many epochs; the last network against the best one by validation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.attacks import run
from holdfast.data import Pictures
from holdfast.drawing.charts import Line, lines
from holdfast.errors import OptionError
from holdfast.files import dump_json, write_atomically
from holdfast.models import Card
from holdfast.options import option, to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, cell_of, descending, judged, row
from holdfast.reproduce.trade_off import ground as shared
from holdfast.reproduce.trade_off.ground import Ground
from holdfast.threats import Linf
from holdfast.train.folder import CHECKPOINT

GROUP = "S5 robust overfitting"
TRAIN, VALIDATION, TEST, NATURAL = "robust, training", "robust, validation", "robust, test", "natural, test"
EPOCH = "epoch"
LAST, BEST = "last epoch", "best epoch by validation"
COURSE = "course.json"  # robust accuracies after each epoch, beside the training they are of


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


@dataclass(frozen=True)
class Sets:
    """What is trained on, what chooses, what is reported."""

    training: Pictures
    validation: Pictures
    test: Pictures


def measure(bench: Bench, ground: Ground, settings: Overfitting) -> Table:
    """One training a seed; the best and the last weights of it attacked on the test pictures."""
    sets = Sets(
        shared.training(bench, ground, settings.training),
        networks.pictures(bench, ground.data, "validation", settings.validation),
        shared.testing(bench, ground),
    )
    card = shared.card_of(sets.training, settings.width)
    chosen = shared.recipe(
        ground,
        eps=settings.eps,
        epochs=settings.epochs,
        schedule="constant",
        learning_rate=settings.learning_rate,
        watch="robust",
        attacked=settings.validation,
    )

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        course = Course(card, settings, sets, folder / COURSE, folder / "model", seed)
        course.catch_up()
        trained = networks.learn(bench, folder, card, sets.training, chosen, seed, validation=sets.validation,
                                 on_epoch=lambda epoch: course.catch_up())  # fmt: skip
        rates = [epoch.watched("robust") or 0.0 for epoch in trained.history]
        best = max(range(len(rates)), key=rates.__getitem__)  # the first of equal ones, as training keeps it
        last = _last(folder / "model", trained.model)
        found: dict[str, Any] = {f"{BEST}, {EPOCH}": best + 1, f"{LAST}, {EPOCH}": len(rates)}
        for name, model, at in ((BEST, trained.model, best), (LAST, last, len(rates) - 1)):
            found |= _judged(bench, ground, folder, model.to(bench.device), sets, settings, name)
            found[f"{name}, {VALIDATION}"] = rates[at]
        return found | {"curves": {**networks.curves(trained), **course.read()}}

    judges = {"judge": to_plain(ground.judge()), "scored": [settings.scored, settings.score_steps]}
    asked = networks.settings(chosen, card, sets.training, sets.validation, sets.test, **judges)
    parts = bench.each_seed("overfitting", asked, work)
    columns = (EPOCH, NATURAL, TRAIN, VALIDATION, TEST)
    rows = [row(name, parts, {column: f"{name}, {column}" for column in columns}, group=GROUP) for name in (BEST, LAST)]
    return Table(_columns(settings, ground), tuple(rows), _orderings(rows), _plots(settings, parts))


class Course:
    """Robust accuracies after each epoch, kept in a file beside the training, so that a kill loses none.

    They are of the weights in the training's checkpoint, which is written before an epoch is told of.
    """

    def __init__(self, card: Card, settings: Overfitting, sets: Sets, path: Path, run: Path, seed: int) -> None:
        self.card, self.settings, self.path, self.run, self.seed = card, settings, path, run, seed
        few = slice(0, settings.scored)
        self.scored = {"robust_training": sets.training.take(few), "robust_test": sets.test.take(few)}

    def read(self) -> dict[str, list[float]]:
        """By name, a number an epoch."""
        if not self.path.is_file():
            return {name: [] for name in self.scored}
        return dict(json.loads(self.path.read_bytes()))

    def catch_up(self) -> None:
        """Score the weights of the checkpoint, if they are those after an epoch that has no score yet."""
        file, known = self.run / CHECKPOINT, self.read()
        if not file.is_file():
            return
        state = torch.load(file, map_location="cpu", weights_only=True)
        done = len(known["robust_test"])
        if state["step"] or len(state["history"]) != done + 1:
            return
        model = self.card.build(0)
        model.load_state_dict(state["model"])
        for name, pictures in self.scored.items():
            known[name].append(withstood(model.eval(), pictures, self.settings, self.seed))
        write_atomically(self.path, dump_json(known))


def withstood(model: nn.Module, pictures: Pictures, settings: Overfitting, seed: int) -> float:
    """The share right before and after a short PGD."""
    attack = shared.Ground(test_steps=settings.score_steps, test_step_size=2.5 / settings.score_steps).judge()
    found = run(attack, model, pictures.x(), pictures.labels, Linf(eps=settings.eps), seed=seed, batch=512)
    return 1 - float((found.success | found.start_wrong).double().mean())


def _last(folder: Path, kept: nn.Module) -> nn.Module:
    """The network after the last epoch; where that is the best one there is no other."""
    from holdfast.models import load

    return load(folder / "last")[0] if (folder / "last").is_dir() else kept


def _judged(
    bench: Bench, ground: Ground, folder: Path, model: nn.Module, sets: Sets, settings: Overfitting, name: str
) -> dict[str, float]:
    """Accuracy on the test pictures, and under attack on these and on the training pictures."""
    rates = {}
    for column, pictures in ((TEST, sets.test), (TRAIN, sets.training)):
        place = f"{name}-{column}".replace(", ", "-").replace(" ", "-")
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
        descending("Training on overfits: the last network is less robust on the test pictures than the best one, "
                   "which stopping early by robust validation accuracy keeps.", rows, [(BEST, TEST), (LAST, TEST)]),
        descending("Meanwhile robust accuracy on the training pictures keeps rising.", rows,
                   [(LAST, TRAIN), (BEST, TRAIN)]),
        descending("In the end it is higher there than on the test pictures.", rows, [(LAST, TRAIN), (LAST, TEST)]),
        _more_than_natural(rows),
    )  # fmt: skip


def _more_than_natural(rows: Sequence[Row]) -> Ordering:
    """What is lost from the best epoch to the last, of robust and of natural accuracy."""
    lost = {}
    for column in (TEST, NATURAL):
        best, last = cell_of(rows, BEST, column), cell_of(rows, LAST, column)
        assert best is not None
        assert last is not None
        lost[f"lost of {column}"] = best.mean - last.mean
    robust, natural = lost.values()
    return judged("Natural accuracy on the test pictures loses less of it, or gains.", robust > natural, lost)


def _plots(settings: Overfitting, parts: Sequence[Part]) -> tuple[Plot, ...]:
    """The curves of the first seed."""
    part, title = parts[0], "Robust accuracy over the epochs"
    curves = part.found["curves"]
    shown = (
        ("training pictures", curves["robust_training"]),
        ("validation pictures", curves["robust"]),
        ("test pictures", curves["robust_test"]),
    )
    drawn = [Line(name, n, tuple(enumerate(rates, 1))) for n, (name, rates) in enumerate(shown)]
    svg = lines(drawn, title=title, x_label="epoch", percent=True)
    best = part.found[f"{BEST}, {EPOCH}"]
    caption = (
        f"Seed {part.seed}. Within {settings.eps:g} in Linf, {settings.scored} pictures of training and test under "
        f"{settings.score_steps} steps of PGD after every epoch. The best epoch by validation is {best}."
    )
    return (Plot(title, svg, caption, tuple((name, n) for n, (name, _) in enumerate(shown)), GROUP),)

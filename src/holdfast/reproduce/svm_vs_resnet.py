"""The linear support vector machine beside a residual network on CIFAR-10: clean, attacked, trained adversarially."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final, Literal

import torch
from torch import nn

from holdfast.attacks import APGD, FGSM, IFGSM, PGD
from holdfast.augment import Crop, Mirror
from holdfast.data import Pictures
from holdfast.drawing.charts import Bar, Line, bars, lines
from holdfast.errors import OptionError
from holdfast.evaluate import Point
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, cell_of, descending, judged, row
from holdfast.threats import Linf
from holdfast.train import Adversary, CrossEntropy, Hinge, Loss, Recipe, TrainOptions, card_for

DATA = "cifar-10"
GREYS = 255.0  # the source's numbers for the machine fit pixels from 0 to 255, ours go from 0 to 1
RATE, LAMBDA = 1e-7, 2.5e-4  # as the source has them
COURSE_LAMBDA = 2.5e4  # as the course exercise has it that the source's numbers recall; from memory
AS_WRITTEN, SVM, COURSE = "SVM, rate and lambda as written", "SVM", "SVM, lambda = 2.5e4"
SOFTMAX, HARD_SVM = "softmax regression", "SVM, trained adversarially"
RESNET, ROBUST = "ResNet", "ResNet, trained adversarially"
CLEAN, UNKNOWN, JUDGE = "clean error", "PGD error, eps not given", "Auto-PGD error"
MOST = "largest possible error"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is trained on how much, and attacked how far. Radii are in 255ths."""

    model: str = option("resnet8", "the residual network")
    pictures: int | None = option(10_000, "that the residual networks learn; none: all but the validation split")
    epochs: int = option(12, "of the residual networks")
    batch: int = option(128, "pictures a step of theirs")
    rate: float = option(0.1, "largest step size of theirs")
    schedule: Literal["one-cycle", "plateau"] = option("one-cycle", "of their step size")
    inner_steps: int = option(1, "of the attack that they are trained against; one is fast adversarial training")
    validation: int | None = option(1000, "pictures looked at after each epoch; none: the whole split")
    linear_pictures: int | None = option(None, "that the linear classifiers learn; none: all but the validation split")
    linear_batch: int = option(180, "pictures a step of theirs, so that the iterations are whole epochs")
    iterations: int = option(1500, "steps of theirs")
    trained_at: float = option(8, "radius of adversarial training")
    radii: tuple[float, ...] = option((2, 4, 8), "of the attack, ascending")
    steps: int = option(10, "of the attack; each is eps / steps")
    judge_steps: int = option(50, "of Auto-PGD, which looks at the residual networks again at the largest radius")
    tests: int | None = option(1000, "test pictures; none: all")

    def __post_init__(self) -> None:
        """Refuse what the table cannot be made of."""
        architecture(self.model)
        if not self.radii or list(self.radii) != sorted(set(self.radii)) or self.radii[0] <= 0:
            raise OptionError(f"radii={self.radii!r}; allowed: numbers > 0, ascending, such as 2,4,8.")
        if self.inner_steps < 1:
            raise OptionError(f"inner_steps={self.inner_steps!r}; allowed: whole numbers >= 1.")

    def linear_epochs(self, count: int) -> int:
        """The epochs over `count` pictures that make up the iterations. Raises: `OptionError` for a broken number."""
        each = -(-count // self.linear_batch)
        if self.iterations % each:
            raise OptionError(
                f"iterations={self.iterations!r} with {each} steps an epoch of {count} pictures; allowed: a multiple "
                "of the steps an epoch. Change linear_batch."
            )
        return self.iterations // each


@dataclass(frozen=True)
class Classifier:
    """A row of the table. `published` are errors, clean and under attack."""

    name: str
    short: str  # in charts and as its part's name
    linear: bool
    recipe: Recipe
    published: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Sets:
    """The pictures of a row."""

    training: Pictures
    validation: Pictures
    test: Pictures


def measure(bench: Bench, settings: Settings) -> Table:
    """Train seven classifiers, and attack all of them alike."""
    test = networks.pictures(bench, DATA, "test", settings.tests)
    validation = networks.pictures(bench, DATA, "validation", settings.validation)
    learnt = {
        linear: networks.pictures(bench, DATA, "train", settings.linear_pictures if linear else settings.pictures)
        for linear in (True, False)
    }
    parts: dict[str, list[Part]] = {}
    chosen = classifiers(settings, len(learnt[True]))
    for number, one in enumerate(chosen):
        bench.progress(number, len(chosen), one.name)
        parts[one.name] = _parts(bench, settings, one, Sets(learnt[one.linear], validation, test))
    rows = [_row(settings, one, parts[one.name]) for one in chosen]
    return Table(
        _columns(settings),
        tuple(rows),
        orderings(rows, settings),
        tuple(_plots(rows, parts, chosen, settings)),
        notes(rows, settings),
    )


def classifiers(settings: Settings, count: int) -> tuple[Classifier, ...]:
    """The rows; the linear ones learn `count` pictures."""

    def linear(rate: float, strength: float, loss: Loss, adversary: Adversary | None = None) -> Recipe:
        return Recipe(
            options=TrainOptions(
                epochs=settings.linear_epochs(count),
                batch=settings.linear_batch,
                optimiser="sgd",
                momentum=0.0,
                schedule="constant",
                learning_rate=rate,
                weight_decay=2 * strength,  # the slope of lambda w^2 is 2 lambda w
                decay="weights",
            ),
            loss=loss,
            adversary=adversary,
        )

    rate, strength = RATE * GREYS**2, LAMBDA / GREYS**2
    against = Adversary(FGSM(), Linf(eps=settings.trained_at / GREYS))  # one step is all that a linear loss asks for
    published = (0.625, 1.0)
    return (
        Classifier(AS_WRITTEN, "svm-as-written", True, linear(RATE, LAMBDA, Hinge()), published),
        Classifier(SVM, "svm", True, linear(rate, strength, Hinge()), published),
        Classifier(COURSE, "svm-course", True, linear(rate, COURSE_LAMBDA / GREYS**2, Hinge())),
        Classifier(SOFTMAX, "softmax", True, linear(rate, strength, CrossEntropy())),
        Classifier(HARD_SVM, "svm-adversarial", True, linear(rate, strength, Hinge(), against)),
        Classifier(RESNET, "resnet", False, _network(settings, None), (0.08, 0.7)),
        Classifier(ROBUST, "resnet-adversarial", False, _network(settings, adversary(settings)), (None, 0.45)),
    )


def adversary(settings: Settings) -> Adversary:
    """That of the residual network.

    One step, too long, from a random start is fast adversarial training; several are those of Madry et al.

    Source: Wong et al. 2020, arXiv:2001.03994, with the step 1.25 eps; Madry et al. 2018, arXiv:1706.06083, sec. 5.
    """
    steps = settings.inner_steps
    step_size = 1.25 if steps == 1 else 2.5 / steps
    return Adversary(PGD(steps=steps, step_size=step_size), Linf(eps=settings.trained_at / GREYS))


def _network(settings: Settings, against: Adversary | None) -> Recipe:
    return Recipe(
        options=TrainOptions(
            epochs=settings.epochs,
            batch=settings.batch,
            optimiser="sgd",
            momentum=0.9,
            learning_rate=settings.rate,
            weight_decay=1e-4,
            schedule=settings.schedule,
        ),
        augment=(Crop(), Mirror()),
        adversary=against,
    )


def _parts(bench: Bench, settings: Settings, one: Classifier, sets: Sets) -> list[Part]:
    """A row's training and attacks, each seed anew."""
    card = (
        card_for("linear", sets.training, normalize="pixels") if one.linear else card_for(settings.model, sets.training)
    )
    judge = None if one.linear else settings.judge_steps
    asked = networks.settings(
        one.recipe,
        card,
        sets.training,
        sets.validation,
        sets.test,
        mean=card.mean,
        radii=list(settings.radii),
        steps=settings.steps,
        judge_steps=judge,
    )

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, sets.training, one.recipe, seed, validation=sets.validation)
        found: dict[str, Any] = {
            CLEAN: 1 - networks.accuracy(trained.model, sets.test),
            **_under_attack(bench, settings, folder, trained.model, sets.test),
            "curves": networks.curves(trained),
        }
        eps = settings.radii[-1] / GREYS
        if judge is None:
            return {**found, MOST: largest_error(trained.model, sets.test, eps)}
        seen = networks.attacked(
            bench, folder, trained.model, sets.test, threat(settings), APGD(steps=judge), [eps], name="judge", seed=seed
        )
        return {**found, JUDGE: error(seen.curve[0])}

    return bench.each_seed(f"svm-vs-resnet/{one.short}", asked, work)


def threat(settings: Settings) -> Linf:
    """Every pixel by up to the largest radius."""
    return Linf(eps=settings.radii[-1] / GREYS)


def _under_attack(bench: Bench, settings: Settings, folder: Path, model: Any, test: Pictures) -> dict[str, float]:
    """The error at each radius under the source's attack of that radius alone."""
    eps = [radius / GREYS for radius in settings.radii]
    attack = IFGSM(steps=settings.steps)
    seen = networks.attacked(bench, folder, model, test, threat(settings), attack, eps, name="pgd")
    return {pgd(radius): error(point) for radius, point in zip(settings.radii, seen.curve, strict=True)}


def error(point: Point) -> float:
    """The share of pictures that the attack of this radius alone has wrong at its end."""
    return (point.own.n - point.own.k) / point.own.n


def largest_error(model: nn.Module, test: Pictures, eps: float) -> float:
    """The share of pictures that a linear model has wrong at some point within `eps`, the pixels' bounds left aside.

    Class j gets in front of the label's y once their difference is at most eps times the L1 norm of w_y - w_j, the norm
    dual to the threat's: no attack can do more, and one that heeds the bounds may do less.
    Cost: one forward pass a picture. Source: Hoelder's inequality.
    """
    weight = next(layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)).detach().cpu().double()
    logits, own = networks.answers(model, test).double(), test.labels
    lead = logits.gather(1, own[:, None]) - logits
    reach = eps * torch.cdist(weight, weight, p=1)[own]
    lost = (lead <= reach).scatter(1, own[:, None], False).any(1)
    return float(lost.double().mean())


def pgd(radius: float) -> str:
    """The column of a radius."""
    return f"PGD error at {radius:g}/255"


def _row(settings: Settings, one: Classifier, parts: Sequence[Part]) -> Row:
    published = dict(zip((CLEAN, UNKNOWN), one.published, strict=True))
    group = "Linear classifiers" if one.linear else "Residual networks"
    columns = [CLEAN, *map(pgd, settings.radii), MOST if one.linear else JUDGE]
    return row(one.name, parts, columns, published=published, group=group)


def _columns(settings: Settings) -> tuple[Column, ...]:
    largest = f"{settings.radii[-1]:g}/255"
    return (
        Column(CLEAN, about=f"on test pictures as they are; the linear classifiers take {settings.iterations} steps"),
        Column(UNKNOWN, about="the source's attack; how far it goes is not told, so that nothing of ours stands here"),
        *(
            Column(
                pgd(radius),
                about="" if number else f"{settings.steps} steps of eps / {settings.steps} without a random start",
            )
            for number, radius in enumerate(settings.radii)
        ),
        Column(JUDGE, about=f"{settings.judge_steps} steps at {largest}, of the residual networks: what PGD leaves"),
        Column(
            MOST,
            about=f"of the linear classifiers within {largest}, on paper: margin / dual norm, without pixels' bounds",
        ),
    )


NOT_ONE: Final = "Under attack the SVM is right on not one picture (at {at})."
SOME: Final = "Under attack the ResNet is still right on some (at {at}; the source has about 30 %)."
USELESS: Final = "Adversarial training is useless for the SVM: its error under attack falls by less than a point."


def orderings(rows: Sequence[Row], settings: Settings) -> tuple[Ordering, ...]:
    """What the source says of who is better, radius by radius where it has to do with an attack."""
    largest, at = pgd(settings.radii[-1]), f"{settings.radii[-1]:g}/255"
    gap = fmean(_each(rows, SVM, CLEAN)) - fmean(_each(rows, RESNET, CLEAN))
    svm, resnet = (fmean(_each(rows, name, largest)) for name in (SVM, RESNET))
    saved = {
        column: fmean(_each(rows, SVM, column)) - fmean(_each(rows, HARD_SVM, column))
        for column in map(pgd, settings.radii)
    }
    return (
        descending("The ResNet is right more often than the SVM.", rows, [(SVM, CLEAN), (RESNET, CLEAN)]),
        judged("It is so by 55 points (within five).", abs(gap - 0.55) <= 0.05, {"lead in clean accuracy": gap}),
        judged(NOT_ONE.format(at=at), svm == 1, {f"{SVM}, {largest}": svm}),
        judged(SOME.format(at=at), resnet < 1, {f"{RESNET}, {largest}": resnet}),
        *(
            descending(
                f"The attack hits the SVM harder than the ResNet ({radius:g}/255).",
                rows,
                [(SVM, pgd(radius)), (RESNET, pgd(radius))],
            )
            for radius in settings.radii
        ),
        *(
            descending(
                f"Adversarial training lowers the ResNet's error under attack ({radius:g}/255).",
                rows,
                [(RESNET, pgd(radius)), (ROBUST, pgd(radius))],
            )
            for radius in settings.radii
        ),
        descending("It costs the ResNet some clean accuracy.", rows, [(ROBUST, CLEAN), (RESNET, CLEAN)]),
        judged(USELESS, max(saved.values()) < 0.01, {f"{column}, saved": value for column, value in saved.items()}),
    )


def _each(rows: Sequence[Row], name: str, column: str) -> list[float]:
    cell = cell_of(rows, name, column)
    assert cell is not None  # every row was measured in these columns
    return list(cell.seeds.values())


def notes(rows: Sequence[Row], settings: Settings) -> tuple[str, ...]:
    """What was read into the source, and what a stronger attack says."""
    largest = pgd(settings.radii[-1])
    missed = {name: fmean(_each(rows, name, JUDGE)) - fmean(_each(rows, name, largest)) for name in (RESNET, ROBUST)}
    told = ", ".join(f"{name}: {100 * value:+.1f} points" for name, value in missed.items())
    return (
        f"{AS_WRITTEN}: step size {RATE:g} and lambda {LAMBDA:g} on pixels from 0 to 1, on which they train next to "
        f"nothing: they fit pixels from 0 to 255. {SVM}: the same machine for pixels from 0 to 1, step size "
        f"{RATE:g} x 255^2 = {RATE * GREYS**2:.3g}, lambda {LAMBDA:g} / 255^2 = {LAMBDA / GREYS**2:.2g}, which is next "
        f"to none; the biases' step size should have stayed, and grows too. {COURSE}: with the lambda that a "
        f"well-known course exercise has beside the same step size (from memory), / 255^2 = "
        f"{COURSE_LAMBDA / GREYS**2:.3g}.",
        "The source gives neither eps nor the number of steps, the batch size, nor whether pictures were augmented: "
        "ours are cropped and mirrored for the residual networks alone. It calls the networks' loss binary "
        "cross-entropy; ours is that over the ten classes. Momentum is Nesterov's.",
        f"Auto-PGD's error less that of PGD, at the largest radius: {told}.",
        "Error under attack counts pictures that are wrong without one.",
    )


def _plots(
    rows: Sequence[Row], parts: Mapping[str, Sequence[Part]], chosen: Sequence[Classifier], settings: Settings
) -> list[Plot]:
    machines = [one for one in chosen if one.recipe.loss == Hinge()]
    deep = [one for one in chosen if not one.linear]
    return [
        _bars(rows, (SVM, RESNET), "Errors before and after the attack", settings),
        _bars(rows, (HARD_SVM, ROBUST), "Errors after adversarial training", settings),
        _bars(rows, (AS_WRITTEN, COURSE, SOFTMAX), "Errors of the other linear classifiers", settings),
        _courses(parts, machines, "Loss of the SVM", "loss"),
        _courses(parts, deep, "Loss of the residual networks", "loss"),
        _courses(parts, deep, "Validation accuracy of the residual networks", "validation"),
    ]


SHORT = {HARD_SVM: "SVM", ROBUST: "ResNet", AS_WRITTEN: "as written", COURSE: "lambda 2.5e4", SOFTMAX: "softmax"}


def _bars(rows: Sequence[Row], names: Sequence[str], title: str, settings: Settings) -> Plot:
    columns = [CLEAN, *map(pgd, settings.radii)]
    series = [
        Bar(column, style, tuple(fmean(_each(rows, name, column)) for name in names))
        for style, column in enumerate(columns)
    ]
    svg = bars(series, [SHORT.get(name, name) for name in names], title=title, percent=True)
    return Plot(title, svg, "Means over the seeds.", tuple((column, style) for style, column in enumerate(columns)))


def _courses(parts: Mapping[str, Sequence[Part]], some: Sequence[Classifier], title: str, what: str) -> Plot:
    """A number of every epoch, of the first seed."""
    series = []
    for style, one in enumerate(some):
        course = parts[one.name][0].found["curves"][what]
        points = tuple((float(epoch), value) for epoch, value in enumerate(course, start=1))
        series.append(Line(one.name, style, points))
    svg = lines(series, title=title, x_label="epoch", percent=what != "loss")
    seed = parts[some[0].name][0].seed
    about = "of the pictures trained on, moved ones in adversarial training" if what == "loss" else "on clean pictures"
    return Plot(title, svg, f"Seed {seed}; {about}.", tuple((one.label, one.style) for one in series))


FULL = Settings(
    model="resnet50",
    pictures=None,
    epochs=200,
    schedule="plateau",
    inner_steps=7,
    validation=None,
    steps=20,
    judge_steps=100,
    tests=None,
)

SVM_VS_RESNET = Reproduction(
    name="svm-vs-resnet",
    title="A support vector machine and a residual network under attack",
    source="a report on CIFAR-10, 2020: multi-class SVM and ResNet-50, attacked by PGD, and trained adversarially",
    setting="a ResNet-50 trained for 200 epochs on 45,000 pictures, and an attack whose radius and steps the source "
    "does not give.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)

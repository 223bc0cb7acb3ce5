"""The linear support vector machine beside a residual network on CIFAR-10: clean, attacked, trained adversarially."""

from collections.abc import Sequence
from functools import partial

from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.svm_vs_resnet.classifiers import Classifier, classifiers
from holdfast.reproduce.svm_vs_resnet.figures import plots
from holdfast.reproduce.svm_vs_resnet.measuring import trained_and_attacked
from holdfast.reproduce.svm_vs_resnet.orderings import orderings
from holdfast.reproduce.svm_vs_resnet.settings import (
    AS_WRITTEN,
    CLEAN,
    COURSE,
    COURSE_LAMBDA,
    DATA,
    GREYS,
    JUDGE,
    LAMBDA,
    MOST,
    RATE,
    RESNET,
    ROBUST,
    SVM,
    UNKNOWN,
    Settings,
    pgd,
)
from holdfast.reproduce.table import Column, Row, Table, mean_of, row


def measure(bench: Bench, settings: Settings) -> Table:
    """Train seven classifiers, and attack all of them alike."""
    test = networks.pictures(bench, DATA, "test", settings.tests)
    validation = networks.pictures(bench, DATA, "validation", settings.validation)
    learnt = {
        linear: networks.pictures(bench, DATA, "train", settings.linear_pictures if linear else settings.pictures)
        for linear in (True, False)
    }
    chosen = classifiers(settings, len(learnt[True]))
    sets = {linear: networks.Sets(some, validation, test) for linear, some in learnt.items()}
    works = {one.name: partial(trained_and_attacked, bench, settings, one, sets[one.linear]) for one in chosen}
    parts = bench.in_turn(works)
    rows = [_row(settings, one, parts[one.name]) for one in chosen]
    return Table(
        _columns(settings),
        tuple(rows),
        orderings(rows, settings),
        plots(rows, parts, chosen, settings),
        _notes(rows, settings),
    )


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


def _notes(rows: Sequence[Row], settings: Settings) -> tuple[str, ...]:
    """What was read into the source, and what a stronger attack says."""
    largest = pgd(settings.radii[-1])
    missed = {name: mean_of(rows, name, JUDGE) - mean_of(rows, name, largest) for name in (RESNET, ROBUST)}
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

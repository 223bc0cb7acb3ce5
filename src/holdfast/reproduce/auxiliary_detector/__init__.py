"""A second classifier as a detector of attacks: of its own or branched off, judged by who does not know it and does."""

from collections.abc import Sequence
from functools import partial

from holdfast.drawing.charts import Bar, bars
from holdfast.reproduce.auxiliary_detector.measuring import classifiers, guarded, key, work_on
from holdfast.reproduce.auxiliary_detector.orderings import orderings
from holdfast.reproduce.auxiliary_detector.settings import (
    ACCURACY,
    ALARMS,
    ALL_STEPS,
    ATTACKS,
    AUROC,
    AWARE,
    AWARE_SIZE,
    COST,
    DETECTED,
    KINDS,
    OF_ATTACKS,
    OF_DETECTORS,
    PAIRS,
    SIZE,
    Ground,
    Kind,
    Settings,
    named,
)
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.plots import legend
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Plot, Row, Table, cell_of, row

DETECTORS, CLASSIFIERS = "Detectors", "Classifiers"


def measure(bench: Bench, settings: Settings) -> Table:
    """For both sets a classifier, and four detectors beside it, each attacked."""
    grounds = settings.grounds()
    attacked, detectors, trained = [], [], []
    for on in grounds:
        work = work_on(bench, settings, on)
        first = classifiers(work)
        parts = bench.in_turn({named(on, kind): partial(guarded, work, kind, first) for kind in KINDS})
        trained.append(row(on.name, first, [ACCURACY], group=CLASSIFIERS))
        for kind in KINDS:
            some = parts[named(on, kind)]
            detectors.append(row(named(on, kind), some, OF_DETECTORS, group=DETECTORS))
            attacked += [_row(on, kind, attack, some) for attack in ATTACKS]
    rows = (*attacked, *detectors, *trained)
    plots = tuple(_plot(rows, on) for on in grounds)
    return Table(_columns(settings), rows, orderings(rows, grounds), plots, _notes(settings))


def _row(on: Ground, kind: Kind, attack: str, parts: Sequence[Part]) -> Row:
    """An attack on a detector: the numbers that every seed has."""
    read = {column: key(attack, column) for column in OF_ATTACKS}
    there = {column: name for column, name in read.items() if all(name in part.found for part in parts)}
    return row(named(on, kind, attack), parts, there, group=named(on, kind))


def _plot(rows: Sequence[Row], on: Ground) -> Plot:
    """What is detected of PGD, by who attacks."""
    title = f"Detected of PGD, percent: {on.name}"
    series = []
    for style, column in enumerate((DETECTED, AWARE)):
        cells = [cell_of(rows, named(on, kind, ALL_STEPS), column) for kind in KINDS]
        series.append(Bar(column, style, tuple(0.0 if cell is None else cell.mean for cell in cells)))
    svg = bars(series, [kind.name for kind in KINDS], title=title, percent=True)
    return Plot(title, svg, "Means over the seeds; who does not know the detector takes all steps.", legend(series))


def _columns(settings: Settings) -> tuple[Column, ...]:
    return (
        Column(DETECTED, about="of the adversarial pictures of who does not know the detector"),
        Column(AUROC, about="how often such a picture is more suspicious than a clean one"),
        Column(SIZE, unit="Linf for FGSM and PGD, else L2", about="of these pictures"),
        Column(AWARE, about="of the pictures that either can break, those for which nothing passes the detector"),
        Column(AWARE_SIZE, unit="Linf for FGSM and PGD, else L2", about="of the pictures that mislead and pass"),
        Column(ALARMS, about=f"of clean test pictures; {100 * settings.false_alarms:g} % wanted"),
        Column(COST, about="multiplications with weights that it adds to a pass of the classifier, as a share"),
        Column(PAIRS, unit="count", about="clean pictures that PGD breaks, each with what it makes of them"),
        Column(ACCURACY, about="on test pictures as they are"),
    )


def _radii(settings: Settings) -> str:
    return ", ".join(f"{on.eps:.3g} ({on.name})" for on in settings.grounds())


def _notes(settings: Settings) -> tuple[str, ...]:
    return (
        "The lecture has no figures, so that none stand beside ours; the sentences are the lecture's, but that on "
        "dynamic training, which is what Metzen et al. 2017 (arXiv:1702.04267) propose it for.",
        f"FGSM and PGD keep to Linf {_radii(settings)}; DeepFool and CW look for the smallest change in L2. All "
        f"detectors learn from PGD of {settings.learning_steps} steps, taken to the highest loss, on pictures that the "
        "classifier has been trained on.",
        "Who knows the detector runs the same attack on classifier and detector at once, then those made for it "
        "(orthogonal PGD in both forms within the radius, evasive CW for the smallest change), and keeps what passes "
        "by chance. That search is one for both rows of PGD.",
    )


FULL = Settings(
    grey="resnet20",
    colour="resnet20",
    pictures=None,
    epochs=100,
    optimiser="sgd",
    learning_rate=0.1,
    schedule="cosine",
    fitted_on=None,
    detector_epochs=20,
    minibatch=64,
    held_out=None,
    clean=None,
    attacked=1000,
    learning_steps=10,
    steps=100,
    cw_steps=100,
    cw_searches=9,
)

AUXILIARY_DETECTOR = Reproduction(
    name="auxiliary-detector",
    title="Detecting attacks by a second classifier",
    source="a lecture on adversarial attacks: auxiliary models, of their own and branched off; Metzen et al. 2017, "
    "arXiv:1702.04267",
    setting="the lecture has no figures.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)

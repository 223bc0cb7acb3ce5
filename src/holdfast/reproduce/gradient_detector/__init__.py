"""The gradient norm as a detector of attacks: who does not know it is flagged, and who does pays in distance."""

from collections.abc import Sequence
from functools import partial

from holdfast.reproduce.bench import Bench
from holdfast.reproduce.gradient_detector.figures import plots
from holdfast.reproduce.gradient_detector.measuring import attacked, trained, work_on
from holdfast.reproduce.gradient_detector.orderings import orderings
from holdfast.reproduce.gradient_detector.settings import (
    ACCURACY,
    ALL_STEPS,
    CLEAN,
    FLAGGED,
    FOUND,
    LEAST_PGD,
    NORM,
    SIZE,
    SLOPES,
    Ground,
    Settings,
    named,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Plot, Row, Table, row


def measure(bench: Bench, settings: Settings) -> Table:
    """For each set: train, set the threshold, and attack."""
    rows: list[Row] = []
    drawn: list[Plot] = []
    for on in settings.grounds():
        work = work_on(bench, settings, on)
        first = trained(work)
        names = {named(on, name): name for name in (*settings.unaware(), *SLOPES)}
        done = bench.in_turn({long: partial(attacked, work, name, first) for long, name in names.items()})
        parts = {CLEAN: first, **{names[long]: some for long, some in done.items()}}
        rows += [_row(on, name, some) for name, some in parts.items()]
        drawn += plots(on, parts)
    return Table(_columns(settings), tuple(rows), orderings(rows, settings.grounds()), tuple(drawn), _notes(settings))


def _row(on: Ground, name: str, parts: Sequence[Part]) -> Row:
    """A row of what every seed has found: without a success there is no median."""
    columns = [ACCURACY, FLAGGED, ALL_STEPS, SIZE, FOUND, NORM]
    there = [column for column in columns if all(column in part.found for part in parts)]
    return row(named(on, name), parts, there, published=on.published(name), group=on.name)


def _columns(settings: Settings) -> tuple[Column, ...]:
    return (
        Column(ACCURACY, about="of the network on test pictures as they are"),
        Column(FLAGGED, about="of clean pictures, or of the adversarial ones found; aware: where none passes"),
        Column(ALL_STEPS, about=f"PGD with all its {settings.steps} steps within L2 {_radii(settings)}"),
        Column(SIZE, unit="L2, pixels in [0, 1]", about="of the adversarial pictures found; aware: of those that pass"),
        Column(FOUND, about="share of the pictures that the network gets right; aware: misled and not flagged"),
        Column(NORM, unit="per unit of L2", about="of the loss at the predicted label, by the picture"),
    )


def _radii(settings: Settings) -> str:
    return ", ".join(f"{on.eps:g} ({on.name})" for on in settings.grounds())


def _notes(settings: Settings) -> tuple[str, ...]:
    return (
        "The source names neither pictures nor network for these slides, nor the label in the loss, nor the norm of "
        f"its PGD. Ours: CIFAR-10 with {settings.colour}, beside which its figures stand; Fashion-MNIST and MNIST with "
        f"{settings.grey}, where fewer pictures are wrong as they are; the predicted label; L2.",
        "The threshold is as low as the network's clean pictures let it be. Those that are wrong or in doubt have "
        "large gradients without any attack: with more than 5 % of them, who sits at the boundary is among their like.",
        f"The row {LEAST_PGD} looks for the smallest radius within which PGD of {settings.steps} steps succeeds, by "
        "halving intervals, and ends each run at its first success: pictures at the boundary, where the loss is steep. "
        f"The column '{ALL_STEPS}' has what the same attack leaves when it goes on to the highest loss.",
        "The threshold is from clean validation pictures; the row of clean pictures has what it flags of test ones. "
        "The source says that 5 % of clean pictures were wanted, and prints 6 %.",
        "Evasive CW is run through the guarded network: a success misleads it and stays under the threshold. Its two "
        "rows differ in how the slope of the gradient norm is found.",
    )


FULL = Settings(
    grey="cnn",
    colour="resnet20",
    pictures=None,
    epochs=100,
    optimiser="sgd",
    learning_rate=0.1,
    schedule="cosine",
    held_out=None,
    clean=None,
    attacked=1000,
    steps=40,
    queries=5000,
    cw_steps=100,
    cw_searches=9,
    evasive_steps=100,
    evasive_searches=12,
)

GRADIENT_DETECTOR = Reproduction(
    name="gradient-detector",
    title="Detecting attacks by the size of the gradient",
    source="a talk of Finlay, Oberman & Abbasi (2019): pictures detected and median L2 of four attacks; the method: "
    "Finlay, Oberman & Abbasi 2018, arXiv:1810.00953",
    setting="a network and pictures that the source does not name.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)

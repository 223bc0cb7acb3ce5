"""The calibration error of six methods on small networks, fitted on one split and judged on another."""

from collections.abc import Sequence
from functools import partial

from holdfast.reproduce.bench import Bench
from holdfast.reproduce.calibration.figures import plots
from holdfast.reproduce.calibration.measuring import ACCURACY, ECE, FEW, NLL, key, trained_and_calibrated
from holdfast.reproduce.calibration.orderings import orderings
from holdfast.reproduce.calibration.settings import (
    METHODS,
    ODIR,
    UNCALIBRATED,
    Network,
    Settings,
    few,
    measure_of,
    networks_of,
    published,
)
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Row, Table, row

ALL = (UNCALIBRATED, *METHODS)
TRAINING = "training accuracy"
COLUMNS = (
    *(Column(name, about="expected calibration error on the test pictures") for name in ALL),
    *(Column(measure_of(name, NLL), "nats", "mean of -log p(label) on the test pictures") for name in ALL),
    *(Column(measure_of(name, ACCURACY), about="on the test pictures") for name in ALL),
    Column(TRAINING, about="on the pictures learnt, as they are"),
)
NOTES = (
    "Fitted on the validation split, judged by the test split, which share no picture; bins of one width.",
    f"{ODIR}: with a price on what is off the diagonal and on the shifts; the source's table does not have it.",
    "The source shows that matrix scaling overfits on a hundred classes and more; with ten, what stands for it here is "
    "a fit on few pictures, which the source does not have.",
)


def measure(bench: Bench, settings: Settings) -> Table:
    """Train one network a row and seed, and calibrate it by every method."""
    chosen = networks_of(settings)
    parts = bench.in_turn({one.name: partial(trained_and_calibrated, bench, settings, one) for one in chosen})
    rows = [made for one in chosen for made in _rows(one, parts[one.name])]
    return Table(COLUMNS, tuple(rows), orderings(rows), plots(rows, parts), NOTES)


def _rows(one: Network, parts: Sequence[Part]) -> tuple[Row, ...]:
    """The source's line, the same with few pictures to fit on, and the other measures."""
    return (
        row(one.name, parts, {name: key(ECE, name) for name in ALL}, published=published(one.name), group=GROUPS[0]),
        row(few(one.name), parts, {name: key(ECE, name, FEW) for name in ALL}, group=GROUPS[0]),
        row(f"{one.name}, {NLL}", parts, [key(NLL, name) for name in ALL], group=GROUPS[1]),
        row(f"{one.name}, {ACCURACY}", parts, [*(key(ACCURACY, name) for name in ALL), TRAINING], group=GROUPS[2]),
    )


GROUPS = ("Expected calibration error", "Negative log-likelihood", "Accuracy")
FULL = Settings(
    residual="resnet20",
    pictures=None,
    epochs=150,
    optimiser="sgd",
    learning_rate=0.1,
    weight_decay=1e-4,
    schedule="step",
    augmented=True,
)

CALIBRATION = Reproduction(
    name="calibration",
    title="Calibration of small networks by six methods",
    source="Guo et al. 2017, 'On calibration of modern neural networks', table 1, which a lecture shows",
    setting="LeNet-5 and ResNet-110 on all of CIFAR-10, fitted on 5,000 pictures; the source has no Fashion-MNIST.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
    seeds=(0, 1, 2),
)

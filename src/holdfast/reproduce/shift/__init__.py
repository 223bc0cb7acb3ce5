"""Accuracy and calibration against severity: one network, temperature scaling, Monte Carlo dropout, an ensemble."""

from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.plots import over_severity
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.shift.measuring import key, measured
from holdfast.reproduce.shift.orderings import orderings
from holdfast.reproduce.shift.settings import CLEAN, COLUMNS, METHODS, SAID, SHIFTED, Settings, named, published
from holdfast.reproduce.table import Column, Table, row

ABOUT = {CLEAN: "test pictures as they are", SHIFTED: "over all corruptions and severities"}
NOTES = (
    "The lecture shows box plots of ImageNet-C, without numbers. What stands as published is of uncertainty-baselines: "
    "a WideResNet-28-10, all pictures, 30 passes of dropout, 4 members, CIFAR-10-C.",
    "The temperature is fitted on clean validation pictures. Monte Carlo dropout is of a network trained with dropout, "
    "the other three methods are of networks without.",
    "That temperature scaling loses its advantage is a finding of Ovadia et al. 2019, arXiv:1906.02530, after whom "
    "the lecture's plots are; the other sentences are the lecture's.",
    "Frost is drawn by a procedure of our own in the place of the source's photographs.",
)


def measure(bench: Bench, settings: Settings) -> Table:
    """Train the networks of each seed, and look at all methods on the same corrupted pictures."""
    sets = networks.Sets(
        networks.pictures(bench, settings.data, "train", settings.pictures),
        networks.pictures(bench, settings.data, "validation", settings.validation),
        networks.pictures(bench, settings.data, "test", settings.tests),
    )
    parts = measured(bench, settings, sets)
    rows = [
        row(
            named(what, method),
            parts,
            {column: key(what, method, column) for column in COLUMNS},
            published=published(what, method) if settings.data == "cifar-10" else None,
            group=group,
        )
        for what, group in SAID.items()
        for method in METHODS
    ]
    columns = tuple(Column(name, about=ABOUT.get(name, "mean over the corruptions")) for name in COLUMNS)
    drawn = tuple(over_severity(parts, what, f"{said} over severity", "", METHODS) for what, said in SAID.items())
    return Table(columns, tuple(rows), orderings(rows), drawn, NOTES)


FULL = Settings(
    model="resnet20",
    options=(),
    pictures=None,
    tests=None,
    epochs=200,
    optimiser="sgd",
    learning_rate=0.1,
    schedule="step",
    augmented=True,
    dropout=0.1,
)

SHIFT = Reproduction(
    name="shift",
    title="Accuracy and calibration as corruptions grow",
    source="a lecture on uncertainty, after Ovadia et al. 2019, 'Can you trust your model's uncertainty?'; figures of "
    "uncertainty-baselines",
    setting="uncertainty-baselines: a WideResNet-28-10 on CIFAR-10 and CIFAR-10-C.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)

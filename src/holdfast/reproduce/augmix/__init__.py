"""AugMix beside plain training, augmentation, adversarial training and an ensemble: corruptions, calibration, cost."""

from functools import partial

from holdfast.reproduce.augmix.figures import plots
from holdfast.reproduce.augmix.measuring import key, measured
from holdfast.reproduce.augmix.orderings import orderings
from holdfast.reproduce.augmix.settings import (
    ANSWER,
    CLEAN,
    CORRUPTED,
    ECE_CLEAN,
    ECE_SHIFT,
    READ,
    ROBUSTBENCH,
    VARIANTS,
    Settings,
    named,
)
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.shifted import BACKWARD, FORWARD, SECONDS
from holdfast.reproduce.table import Column, Table, row

COLUMNS = (
    Column(CLEAN, about="on the test pictures as they are"),
    Column(CORRUPTED, about="mean error over all corruptions and five severities, not divided by a baseline's"),
    Column(ECE_CLEAN, about="expected calibration error, 15 bins, as they are"),
    Column(ECE_SHIFT, about="its mean over all corruptions and severities"),
    Column(FORWARD, "passes", "of each training picture, over the whole training of all members"),
    Column(BACKWARD, "passes", "likewise"),
    Column(SECONDS, "s", "of all members one after the other"),
    Column(ANSWER, "passes", "forward passes for each picture that is classified"),
)
NOTES = (
    "AugMix is trained with its Jensen-Shannon term, once alone and once on cropped and mirrored pictures, as the "
    "source has it. Every other remedy is alone; the row 'plain' is the ensemble's first member.",
    "Frost is drawn by a procedure of our own in the place of the source's photographs, so that error is not exactly "
    "that of CIFAR-10-C.",
    "Seconds are those of this machine, with whatever else it did; passes were counted at the network.",
)


def measure(bench: Bench, settings: Settings) -> Table:
    """Train six kinds of network a set, and look at all of them on the same corrupted pictures."""
    parts = bench.in_turn({data: partial(measured, bench, settings, data) for data in settings.sets})
    rows = [
        row(
            named(data, name),
            some,
            {column: key(name, column) for column in READ},
            published=ROBUSTBENCH.get(name) if data == "cifar-10" else None,
            group=data,
        )
        for data, some in parts.items()
        for name in VARIANTS
    ]
    return Table(COLUMNS, tuple(rows), orderings(rows, settings.sets), plots(rows, parts), NOTES)


FULL = Settings(
    model="wide-resnet-28-10",
    options=(("depth", 40), ("width", 2)),
    pictures=None,
    tests=None,
    epochs=100,
    optimiser="sgd",
    learning_rate=0.1,
    schedule="cosine",
    pad=4,
    inner_steps=7,
)

AUGMIX_UNDER_SHIFT = Reproduction(
    name="augmix",
    title="AugMix under corruptions, beside other remedies, with their costs",
    source="Hendrycks et al. 2020, 'AugMix', which a lecture on uncertainty shows; figures of RobustBench, CIFAR-10-C",
    setting="CIFAR-10-C of RobustBench: a WideResNet-28-10 trained ordinarily, a WideResNet-40-2 trained with AugMix.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)

"""Regularisers on few pictures: each alone, all together, and none."""

from functools import partial

from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.mixup_cutout.figures import plots
from holdfast.reproduce.mixup_cutout.measuring import trained_and_looked_at
from holdfast.reproduce.mixup_cutout.orderings import orderings
from holdfast.reproduce.mixup_cutout.settings import ACCURACY, BEST, DATA, GAP, NLL, TRAINING, Settings, variants
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Table, row

COLUMNS = (
    Column(ACCURACY, about="on the test pictures, after the last epoch; with early stopping, after the best one"),
    Column(NLL, "nats", about="mean of -log p(label) on the test pictures"),
    Column(TRAINING, about="on the pictures learnt, as they are, of the same weights"),
    Column(GAP, about="training accuracy less test accuracy"),
    Column(BEST, "epochs", about="after which the weights are those that are looked at"),
)
NOTES = (
    "The source has no figures for these; the orders are its sentences, and which number each is about is our reading.",
    "Training stops early in all together as well: it learns slowly, and may be stopped while it still gets better.",
    "All together: label smoothing is left out, as mixed pictures have labels of their own, and mixup is in the "
    "source's form, -log(a p(y1) + (1-a) p(y2)); the usual one is a CE(y1) + (1-a) CE(y2).",
    "Cutout sets squares to black; pictures are normalised inside the network.",
)


def measure(bench: Bench, settings: Settings) -> Table:
    """Train one network a row and seed, and look at it on the pictures it has learnt and on others."""
    sets = networks.Sets(
        networks.pictures(bench, DATA, "train", settings.pictures),
        networks.pictures(bench, DATA, "validation", settings.validation),
        networks.pictures(bench, DATA, "test", settings.tests),
    )
    works = {one.name: partial(trained_and_looked_at, bench, settings, one, sets) for one in variants(settings)}
    parts = bench.in_turn(works)
    rows = [row(name, some, [column.name for column in COLUMNS]) for name, some in parts.items()]
    return Table(COLUMNS, tuple(rows), orderings(rows), plots(rows, parts), NOTES)


FULL = Settings(
    model="resnet20",
    pictures=None,
    validation=None,
    epochs=100,
    batch=128,
    rate=0.05,
    decay=1e-3,
    patience=15,
    dropout=0.2,
    cutout=16,
)

MIXUP_CUTOUT = Reproduction(
    name="mixup-cutout",
    title="Regularisers on few pictures",
    source="a lecture on regularisation in computer vision: weight decay, early stopping, dropout, batch norm, "
    "augmentation, cutout, mixup",
    setting="the source has none.",
    presets={"small": Settings(), "full": FULL},
    measure=measure,
)

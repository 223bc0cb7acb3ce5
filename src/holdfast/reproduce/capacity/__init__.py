"""How wide a network must be to hold: natural, FGSM and PGD accuracy against width, for four ways of training."""

from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.capacity.figures import Networks, plots
from holdfast.reproduce.capacity.measuring import trained_and_attacked
from holdfast.reproduce.capacity.orderings import orderings
from holdfast.reproduce.capacity.settings import (
    ACCURACIES,
    BY_FGSM,
    BY_PGD,
    COMMONEST,
    COURSE,
    DATA,
    GROUP,
    GROWING,
    LOSS,
    NATURAL,
    TRAINED,
    TRAININGS,
    Capacity,
    named,
)
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Table, row


def measure(bench: Bench, settings: Capacity) -> Table:
    """Every training at every scale."""
    sets = (
        networks.pictures(bench, DATA, "train", settings.training),
        networks.pictures(bench, DATA, "test", settings.test),
    )
    parts = {
        (training, scale): trained_and_attacked(bench, settings, training, scale, sets)
        for training in TRAININGS
        for scale in settings.scales
    }
    rows = [row(named(*key), some, ACCURACIES, group=GROUP) for key, some in parts.items()]
    rows += [row(named(*key, of=LOSS), some, COURSE, group=TRAINED) for key, some in parts.items()]
    return Table(_columns(settings), tuple(rows), orderings(settings, rows), plots(parts), _notes(settings, parts))


def _columns(settings: Capacity) -> tuple[Column, ...]:
    within = f"within {settings.eps:g} in Linf"
    return (
        Column(NATURAL, about="accuracy: share of the test pictures that are classified rightly"),
        Column(BY_FGSM, about=f"share right before and after one step of the gradient's sign, {within}"),
        Column(BY_PGD, about=f"the same after {settings.test_steps} steps of PGD from a random start, {within}"),
        Column(
            LOSS,
            "nats",
            "mean over the last epoch on what was trained on, adversarial pictures included: "
            "the value of the saddle point problem",
        ),
        Column(COMMONEST, about="share of the test pictures that get the answer given most often: 100 % is a constant"),
    )


def _notes(settings: Capacity, parts: Networks) -> tuple[str, ...]:
    return (
        "The orders are what the source says in its section 4; its figure has no numbers that could stand beside ours.",
        f"The smallest network is the cnn of width {settings.base:g}: the source's 2 and 4 filters, but strides in the "
        "place of pooling, and fewer hidden units (12 at a width of 0.125, against its 64).",
        "A row says what was trained on, a column what was tested.",
        f"'{GROWING}' is no part of the source: eps rises from 0 over the first {settings.warm_up:.0%} of the "
        "training, which leads small networks past the fixed class.",
        "PGD accuracies come from one attack and are upper bounds; `holdfast evaluate --suite standard` looks closer.",
        *networks.idle_note(part for some in parts.values() for part in some),
    )


LARGER = Capacity(
    scales=(1, 2, 4, 8, 16),
    training=None,
    test=None,
    epochs=40,
    batch=50,
    learning_rate=1e-4,
    steps=40,
    step_size=1 / 30,
)

CAPACITY = Reproduction(
    name="capacity",
    title="How much capacity robustness takes, on MNIST",
    source="Madry et al. 2018, arXiv:1706.06083, sec. 4, fig. 4",
    setting="a network with pooling and more hidden units, on all of MNIST; the figure has no numbers.",
    presets={"small": Capacity(), "full": LARGER},
    measure=measure,
)

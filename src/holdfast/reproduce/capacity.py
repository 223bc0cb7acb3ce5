"""How wide a network must be to hold: natural, FGSM and PGD accuracy against width, for four ways of training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from holdfast.attacks import FGSM, PGD, Attack
from holdfast.data import Pictures
from holdfast.drawing.charts import Line, lines
from holdfast.errors import OptionError
from holdfast.options import option, to_plain
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, cell_of, descending, judged, row
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for

NATURAL, BY_FGSM, BY_PGD = "natural", "FGSM", "PGD"
LOSS, COMMONEST = "loss", "one answer"
PLAIN, ON_FGSM, ON_PGD, GROWING = "on natural", "on FGSM", "on PGD", "on PGD, eps growing"
ACCURACIES = {NATURAL: "natural", BY_FGSM: "fgsm", BY_PGD: "pgd"}
COURSE = {LOSS: "loss", COMMONEST: "commonest"}
DATA = "mnist"
GROUP, TRAINED = "D2 accuracy by what was trained on and by capacity", "D2 what the training came to"
FIXED = 0.99  # share of one answer from which on a network says always the same


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Widths of the `cnn` as multiples of the smallest one, and how they are trained and attacked.

    The source's simple network has convolutions of 2 and 4 filters with pooling and 64 hidden units, all doubled with
    the scale. The `cnn` of width 0.125 has the 2 and 4 filters, in strides, and 12 hidden units: a smaller network at
    the same scale.
    Raises: `OptionError` for fewer than two scales, scales out of order, or a radius that is none.
    Source: Madry et al. 2018, arXiv:1706.06083, sec. 4 and fig. 4, without numbers.
    """

    scales: tuple[int, ...] = option((1, 2, 4), "widths, as multiples of `base`")
    base: float = option(0.125, "width of the cnn at scale 1: 2 and 4 filters, 12 hidden units")
    eps: float = option(0.3, "radius in Linf, in training and test")
    training: int | None = option(20_000, "training pictures; none: all of the split")
    test: int | None = option(1000, "test pictures; none: all")
    epochs: int = option(8, "of every training")
    batch: int = option(100, "pictures a step")
    learning_rate: float = option(0.003, "largest, of AdamW in one cycle")
    warm_up: float = option(0.4, "share of the training in which eps grows, in the rows where it does")
    steps: int = option(7, "of PGD in training")
    step_size: float = option(0.25, "of these steps, in units of eps")
    test_steps: int = option(40, "of PGD in the test")
    test_step_size: float = option(0.1, "of these steps, in units of eps")

    def __post_init__(self) -> None:
        if len(self.scales) < 2 or list(self.scales) != sorted(set(self.scales)) or self.scales[0] < 1:
            raise OptionError(f"Capacity: scales={self.scales!r}; allowed: two or more, from 1 up, such as 1,2,4.")
        if not (self.eps > 0 and self.base > 0):
            raise OptionError(
                f"Capacity: eps={self.eps!r}, base={self.base!r}; allowed: numbers > 0. Leave them as they are."
            )

    def inner(self) -> PGD:
        """The attack of PGD training."""
        return PGD(steps=self.steps, step_size=self.step_size)

    def judges(self) -> dict[str, Attack]:
        """The attacks of the test, by name."""
        return {"fgsm": FGSM(), "pgd": PGD(steps=self.test_steps, step_size=self.test_step_size)}


TRAININGS = {PLAIN: "natural", ON_FGSM: "fgsm", ON_PGD: "pgd", GROWING: "pgd-growing"}  # and the folders' names


def recipe(settings: Capacity, training: str) -> Recipe:
    """One of `TRAININGS`."""
    attack: dict[str, Attack] = {ON_FGSM: FGSM(), ON_PGD: settings.inner(), GROWING: settings.inner()}
    options = TrainOptions(
        epochs=settings.epochs,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        warm_up=settings.warm_up if training == GROWING else 0.0,
        attacked=0,
    )
    if training == PLAIN:
        return Recipe(options=options)
    return Recipe(options=options, adversary=Adversary(attack[training], Linf(eps=settings.eps)))


def measure(bench: Bench, settings: Capacity) -> Table:
    """Every training at every scale."""
    sets = (
        networks.pictures(bench, DATA, "train", settings.training),
        networks.pictures(bench, DATA, "test", settings.test),
    )
    parts = {
        (training, scale): _learnt(bench, settings, training, scale, sets)
        for training in TRAININGS
        for scale in settings.scales
    }
    rows = [row(named(*key), some, ACCURACIES, group=GROUP) for key, some in parts.items()]
    rows += [row(named(*key, of=LOSS), some, COURSE, group=TRAINED) for key, some in parts.items()]
    return Table(
        _columns(settings), tuple(rows), _orderings(settings, rows), tuple(_plots(parts)), _notes(settings, parts)
    )


def named(training: str, scale: int, *, of: str = NATURAL) -> str:
    """The name of the row that has a column."""
    return f"{training}, x{scale}" if of in ACCURACIES else f"training {training}, x{scale}"


def cell(training: str, scale: int, column: str) -> tuple[str, str]:
    """Row and column."""
    return named(training, scale, of=column), column


def _learnt(bench: Bench, settings: Capacity, training: str, scale: int, sets: tuple[Pictures, Pictures]) -> list[Part]:
    """A network of a scale, trained in one way and attacked, for every seed."""
    learnt, shown = sets
    chosen = recipe(settings, training)
    card = card_for("cnn", learnt, {"width": settings.base * scale})

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, learnt, chosen, seed)
        answers = networks.answers(trained.model, shown).argmax(1)
        threat, radii = Linf(eps=settings.eps), [settings.eps]
        held = {
            name: networks.held(bench, folder, trained.model, shown, threat, attack, radii, name=name)
            for name, attack in settings.judges().items()
        }
        return {
            "natural": float((answers == shown.labels).double().mean()),
            **{name: one.robust[0] for name, one in held.items()},
            "idle": any(one.idle for one in held.values()),
            "loss": trained.history[-1].loss,
            "commonest": float(answers.bincount().max() / len(answers)),
            "parameters": sum(weight.numel() for weight in trained.model.parameters()),
            "curves": networks.curves(trained),
        }

    judges = {name: to_plain(attack) for name, attack in settings.judges().items()}
    asked = networks.settings(chosen, card, *sets, eps=settings.eps, judges=judges)
    return bench.each_seed(f"{TRAININGS[training]}/x{scale}", asked, work)


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


def _orderings(settings: Capacity, rows: Sequence[Row]) -> tuple[Ordering, ...]:
    least, most = settings.scales[0], settings.scales[-1]

    def ends(training: str, column: str) -> list[tuple[str, str]]:
        return [cell(training, scale, column) for scale in (most, least)]

    return (
        descending("Capacity alone raises the natural accuracy of natural training.", rows, ends(PLAIN, NATURAL)),
        descending("Capacity alone makes natural training more robust to FGSM.", rows, ends(PLAIN, BY_FGSM)),
        descending(
            "FGSM training of the largest network fits FGSM and does not hold against PGD.",
            rows,
            [cell(ON_FGSM, most, BY_FGSM), cell(ON_FGSM, most, BY_PGD)],
        ),
        descending(
            "FGSM training costs natural accuracy.",
            rows,
            [cell(PLAIN, most, NATURAL), cell(ON_FGSM, most, NATURAL)],
        ),
        _better_than_fgsm(rows, most),
        descending(
            "So it does where eps grows.",
            rows,
            [cell(GROWING, most, BY_PGD), cell(ON_FGSM, most, BY_PGD)],
        ),
        _constant(f"Trained on PGD, the smallest network says one class always (over {FIXED:.0%}).", rows, least),
        descending(
            "The largest network does learn from PGD: it holds better than the smallest.",
            rows,
            ends(ON_PGD, BY_PGD),
        ),
        descending("The value of the saddle point problem falls with capacity.", rows, ends(ON_PGD, LOSS)[::-1]),
        descending(
            "With eps growing from 0 too, PGD accuracy rises with capacity, step by step.",
            rows,
            [cell(GROWING, scale, BY_PGD) for scale in reversed(settings.scales)],
        ),
        descending(
            "So does the value of the saddle point problem fall.",
            rows,
            [cell(GROWING, scale, LOSS) for scale in settings.scales],
        ),
    )


def _constant(sentence: str, rows: Sequence[Row], scale: int) -> Ordering:
    """Whether PGD training has ended in a fixed class, although natural training of the same network has not."""
    found = {}
    for training in (ON_PGD, PLAIN):
        name = cell(training, scale, COMMONEST)
        shown = cell_of(rows, *name)
        assert shown is not None
        found[", ".join(name)] = shown.mean
    stuck, free = found.values()
    return judged(sentence, stuck > FIXED > free, found)


def _better_than_fgsm(rows: Sequence[Row], scale: int) -> Ordering:
    """A fixed class is right on its own pictures whatever the attack: that is not better than anything."""
    names = (cell(ON_PGD, scale, BY_PGD), cell(ON_FGSM, scale, BY_PGD), cell(ON_PGD, scale, COMMONEST))
    found = {", ".join(name): one.mean for name in names if (one := cell_of(rows, *name)) is not None}
    trained, other, commonest = found.values()
    sentence = (
        "The largest network trained on PGD holds against it better than the one trained on FGSM, and is no constant."
    )
    return judged(sentence, trained > other and commonest < FIXED, found)


def _plots(parts: Mapping[tuple[str, int], Sequence[Part]]) -> list[Plot]:
    """For each training the accuracies against the scale, and the losses of the trainings on PGD."""
    shown = ((NATURAL, "natural"), (BY_FGSM, "fgsm"), (BY_PGD, "pgd"))
    found = []
    for training in TRAININGS:
        some = {scale: of for (name, scale), of in parts.items() if name == training}
        drawn = [Line(name, n, tuple((s, *_spread(of, key)) for s, of in some.items())) for n, (name, key) in
                 enumerate(shown)]  # fmt: skip
        svg = lines(
            drawn,
            title=f"Trained {training}",
            x_label="capacity scale",
            log_x=max(some) > 4,
            percent=True,
            y_from=(1.0,),
        )
        legend = tuple((f"{name} accuracy", n) for n, (name, _) in enumerate(shown))
        found.append(Plot(f"Trained {training}", svg, _band(parts), legend))
    for training in (ON_PGD, GROWING):
        found.append(_losses(training, {scale: of[0] for (name, scale), of in parts.items() if name == training}))
    return found


def _losses(training: str, some: Mapping[int, Part]) -> Plot:
    title = f"Loss of every epoch, trained {training}"
    drawn = [
        Line(f"x{scale}", n, tuple((epoch, loss) for epoch, loss in enumerate(part.found["curves"]["loss"], 1)))
        for n, (scale, part) in enumerate(some.items())
    ]
    svg = lines(drawn, title=title, x_label="epoch", y_from=(math.log(10),))
    caption = "On what was trained on. ln 10 = 2.30 is the loss of saying nothing about ten classes."
    return Plot(title, svg, caption, tuple((one.label, one.style) for one in drawn))


def _spread(parts: Sequence[Part], key: str) -> tuple[float, float, float]:
    """Mean, smallest and largest over the seeds."""
    values = [float(part.found[key]) for part in parts]
    return fmean(values), min(values), max(values)


def _band(parts: Mapping[tuple[str, int], Sequence[Part]]) -> str:
    return "Bands from the lowest to the highest seed." if len(next(iter(parts.values()))) > 1 else ""


def _notes(settings: Capacity, parts: Mapping[tuple[str, int], Sequence[Part]]) -> tuple[str, ...]:
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

"""Regularisers on few pictures: each alone, all together, and none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from torch.nn.functional import cross_entropy

from holdfast.augment import Augmentation, Brightness, Colour, Contrast, Crop, Cutout, Mirror, Mixup
from holdfast.data import Pictures
from holdfast.drawing.charts import Bar, Line, bars, lines
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.reproduction import Reproduction
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, cell_of, descending, judged, row
from holdfast.train import CrossEntropy, Recipe, TrainOptions, card_for
from holdfast.train.history import best_of

DATA = "cifar-10"
NONE, DECAY, STOP, DROPOUT, NORM = "none", "weight decay", "early stopping", "dropout", "batch norm"
AUGMENT, CUTOUT, MIXUP, USUAL = "augmentation", "cutout", "mixup, the source's form", "mixup, the usual form"
SMOOTH, ALL = "label smoothing", "all together"
ACCURACY, NLL, TRAINING, GAP, BEST = (
    "test accuracy",
    "test loss",
    "training accuracy",
    "generalisation gap",
    "epochs kept",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The network, how much it learns and how long, and how strong each regulariser is."""

    model: str = option("cnn", "the network; batch norm is off but where it is named")
    pictures: int | None = option(2000, "that are learnt; none: all but the validation split")
    validation: int | None = option(1000, "pictures for early stopping and the curves; none: the whole split")
    tests: int | None = option(None, "test pictures; none: all")
    epochs: int = option(40, "the same for all, but where training stops early")
    batch: int = option(50, "pictures a step")
    rate: float = option(0.02, "of SGD with momentum at the beginning; it falls along half a wave")
    decay: float = option(0.01, "weight decay: the weights' part of each slope, 2 lambda")
    patience: int = option(5, "epochs without a better one after which training stops")
    dropout: float = option(0.5, "share set to zero")
    pad: int = option(4, "pixels by which crops are shifted at most")
    cutout: int = option(8, "side of the square cut out")
    alpha: float = option(1.0, "of mixup's Beta distribution")
    smoothing: float = option(0.1, "share of the label that is spread")

    def __post_init__(self) -> None:
        """Refuse an unknown network; the recipes refuse the rest."""
        architecture(self.model)
        variants(self)


@dataclass(frozen=True)
class Variant:
    """A row: a recipe and the network's options."""

    name: str
    recipe: Recipe
    model: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The name of its part."""
        return f"mixup-cutout/{self.name.replace(' ', '-').replace(',', '').replace(chr(39), '')}"


def variants(settings: Settings) -> tuple[Variant, ...]:
    """No regulariser, each alone, and all that go together."""
    plain = TrainOptions(
        epochs=settings.epochs,
        batch=settings.batch,
        optimiser="sgd",
        momentum=0.9,
        learning_rate=settings.rate,
        schedule="cosine",
        weight_decay=0.0,
        decay="weights",
    )
    decayed = replace(plain, weight_decay=settings.decay)
    stopped: dict[str, Any] = {"watch": "validation", "patience": settings.patience}
    changed = augmentations(settings)
    cut, mixed = Cutout(side=settings.cutout), Mixup(alpha=settings.alpha)
    return (
        Variant(NONE, Recipe(options=plain)),
        Variant(DECAY, Recipe(options=decayed)),
        Variant(STOP, Recipe(options=replace(plain, **stopped))),
        Variant(DROPOUT, Recipe(options=plain), {"dropout": settings.dropout}),
        Variant(NORM, Recipe(options=plain), {"batch_norm": True}),
        Variant(AUGMENT, Recipe(options=plain, augment=changed)),
        Variant(CUTOUT, Recipe(options=plain, augment=(cut,))),
        Variant(MIXUP, Recipe(options=plain, mixup=mixed)),
        Variant(USUAL, Recipe(options=plain, mixup=replace(mixed, form="usual"))),
        Variant(SMOOTH, Recipe(options=plain, loss=CrossEntropy(smoothing=settings.smoothing))),
        Variant(
            ALL,
            Recipe(options=replace(decayed, **stopped), augment=(*changed, cut), mixup=mixed),
            {"dropout": settings.dropout, "batch_norm": True},
        ),
    )


def augmentations(settings: Settings) -> tuple[Augmentation, ...]:
    """Crops, mirrored pictures, and other colours, brightness and contrast."""
    return (Crop(pad=settings.pad), Mirror(), Colour(), Brightness(), Contrast())


@dataclass(frozen=True)
class Sets:
    """The pictures, the same for all rows."""

    training: Pictures
    validation: Pictures
    test: Pictures


def measure(bench: Bench, settings: Settings) -> Table:
    """Train one network a row and seed, and look at it on the pictures it has learnt and on others."""
    sets = Sets(
        networks.pictures(bench, DATA, "train", settings.pictures),
        networks.pictures(bench, DATA, "validation", settings.validation),
        networks.pictures(bench, DATA, "test", settings.tests),
    )
    parts: dict[str, list[Part]] = {}
    chosen = variants(settings)
    for number, one in enumerate(chosen):
        bench.progress(number, len(chosen), one.name)
        parts[one.name] = _parts(bench, settings, one, sets)
    rows = [row(one.name, parts[one.name], [ACCURACY, NLL, TRAINING, GAP, BEST]) for one in chosen]
    return Table(COLUMNS, tuple(rows), orderings(rows), tuple(_plots(rows, parts)), NOTES)


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


def _parts(bench: Bench, settings: Settings, one: Variant, sets: Sets) -> list[Part]:
    model = {"batch_norm": False, **one.model}
    card = card_for(settings.model, sets.training, model)
    asked = networks.settings(one.recipe, card, sets.training, sets.validation, sets.test)

    def work(seed: int, folder: Path) -> Mapping[str, Any]:
        trained = networks.learn(bench, folder, card, sets.training, one.recipe, seed, validation=sets.validation)
        logits = networks.answers(trained.model, sets.test).double()
        right = float((logits.argmax(1) == sets.test.labels).double().mean())
        learnt = networks.accuracy(trained.model, sets.training)
        return {
            ACCURACY: right,
            NLL: float(cross_entropy(logits, sets.test.labels)),
            TRAINING: learnt,
            GAP: learnt - right,
            BEST: best_of(trained.history, one.recipe.options.watch).number,
            "curves": networks.curves(trained),
        }

    return bench.each_seed(one.place, asked, work)


# What the source says of each, and the column that it is read to be about: larger first or smaller.
SAID = (
    (CUTOUT, ACCURACY, "Cutout is a simple technique that often works well for small data sets"),
    (AUGMENT, ACCURACY, "The more data, the better the final model, and augmentation makes more of them"),
    (MIXUP, GAP, "Mixup can help avoid overfitting (the source's form)"),
    (USUAL, GAP, "Mixup can help avoid overfitting (the usual form)"),
    (MIXUP, NLL, "Mixup can help avoid overfitting (the source's form)"),
    (USUAL, NLL, "Mixup can help avoid overfitting (the usual form)"),
    (NORM, GAP, "Batch norm can have a regularising effect and reduce overfitting"),
    (DROPOUT, GAP, "A network with dropout learns to do without single features"),
    (STOP, GAP, "Early stopping ends training when the validation error rises"),
    (DECAY, TRAINING, "Weight decay prevents the model from doing too well on the training data"),
    (ALL, ACCURACY, "Regularised models (sometimes) generalise better: all together do so"),
    (ALL, GAP, "Regularised models (sometimes) generalise better: all together do so"),
)


def orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    """The source's sentences: what regularises fits the training data worse and generalises better."""
    told = [_against_none(rows, *one) for one in SAID]
    learnt = [one.name for one in rows if one.name != NONE]
    best = {name: _mean(rows, name, TRAINING) for name in (NONE, *learnt)}
    sentence = "Regularisation makes it harder to fit the training data perfectly: nothing fits them better than none."
    return (*told, judged(sentence, max(best.values()) <= best[NONE], best))


def _against_none(rows: Sequence[Row], name: str, column: str, sentence: str) -> Ordering:
    """Higher accuracy on the test pictures than without, or less of anything else."""
    cells = [(name, column), (NONE, column)] if column == ACCURACY else [(NONE, column), (name, column)]
    more = "higher" if column == ACCURACY else "smaller"
    return descending(f"{sentence}: {more} {column} than without.", rows, cells)


def _mean(rows: Sequence[Row], name: str, column: str) -> float:
    cell = cell_of(rows, name, column)
    assert cell is not None  # every row was measured in every column
    return cell.mean


SHORT = {
    NONE: "none",
    DECAY: "decay",
    STOP: "stop",
    DROPOUT: "dropout",
    NORM: "norm",
    AUGMENT: "augment",
    CUTOUT: "cutout",
    MIXUP: "mixup",
    USUAL: "usual",
    SMOOTH: "smooth",
    ALL: "all",
}
KINDS = {  # what fits side by side
    "network and loss": (NONE, DECAY, STOP, DROPOUT, NORM, SMOOTH),
    "pictures": (NONE, AUGMENT, CUTOUT, MIXUP, USUAL, ALL),
}
MEANS = "Means over the seeds."


def _plots(rows: Sequence[Row], parts: Mapping[str, Sequence[Part]]) -> list[Plot]:
    return [
        *(_shares(rows, names, f"Training and test accuracy: {of}") for of, names in KINDS.items()),
        *(_losses(rows, names, f"Test loss, nats: {of}") for of, names in KINDS.items()),
        _courses(parts, (NONE, ALL), "None and all together"),
        _courses(parts, (MIXUP, USUAL), "The two forms of mixup"),
    ]


def _shares(rows: Sequence[Row], names: Sequence[str], title: str) -> Plot:
    series = [
        Bar(column, style, tuple(_mean(rows, name, column) for name in names))
        for style, column in enumerate((TRAINING, ACCURACY))
    ]
    svg = bars(series, [SHORT[name] for name in names], title=title, percent=True)
    return Plot(title, svg, MEANS, ((TRAINING, 0), (ACCURACY, 1)))


def _losses(rows: Sequence[Row], names: Sequence[str], title: str) -> Plot:
    svg = bars(
        [Bar(NLL, 1, tuple(_mean(rows, name, NLL) for name in names))], [SHORT[name] for name in names], title=title
    )
    return Plot(title, svg, MEANS, ((NLL, 1),))


def _courses(parts: Mapping[str, Sequence[Part]], names: Sequence[str], title: str) -> Plot:
    """Accuracy after each epoch, in the mean over the seeds that went so far."""
    series = []
    for name in names:
        for what, dashed in (("training", True), ("validation", False)):
            courses = [part.found["curves"][what] for part in parts[name]]
            style = 2 * names.index(name) + dashed
            series.append(Line(f"{SHORT[name]}, {what}", style, averaged(courses), dashed))
    svg = lines(series, title=title, x_label="epoch", percent=True)
    caption = (
        "Mean over the seeds. Dashed: right answers on what was trained on, changed and mixed as it was (of mixed "
        "pictures the larger share's label counts), each before its step. The others: validation pictures."
    )
    return Plot(title, svg, caption, tuple((one.label, one.style) for one in series))


def averaged(courses: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """(epoch, mean) for as many epochs as all courses have."""
    together = zip(*courses)  # ends with the shortest, where training stopped early
    return tuple((float(epoch), fmean(values)) for epoch, values in enumerate(together, start=1))


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

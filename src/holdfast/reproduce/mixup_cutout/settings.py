"""What the comparison is asked for, the names of its rows and columns, and what each row trains with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.augment import Augmentation, Brightness, Colour, Contrast, Crop, Cutout, Mirror, Mixup
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce.part import slug
from holdfast.train import CrossEntropy, Recipe, TrainOptions

DATA = "cifar-10"
NONE, DECAY, STOP, DROPOUT, NORM = "none", "weight decay", "early stopping", "dropout", "batch norm"
AUGMENT, CUTOUT, MIXUP, USUAL = "augmentation", "cutout", "mixup, the source's form", "mixup, the usual form"
SMOOTH, ALL = "label smoothing", "all together"
ACCURACY, NLL, TRAINING = "test accuracy", "test loss", "training accuracy"
GAP, BEST = "generalisation gap", "epochs kept"


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
        return f"mixup-cutout/{slug(self.name)}"


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

"""What the comparison of widths is asked for, the names of rows and columns, and the four ways of training."""

from dataclasses import dataclass

from holdfast.attacks import FGSM, PGD, Attack
from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions

NATURAL, BY_FGSM, BY_PGD = "natural", "FGSM", "PGD"
LOSS, COMMONEST = "loss", "one answer"
PLAIN, ON_FGSM, ON_PGD, GROWING = "on natural", "on FGSM", "on PGD", "on PGD, eps growing"
ACCURACIES = {NATURAL: "natural", BY_FGSM: "fgsm", BY_PGD: "pgd"}
COURSE = {LOSS: "loss", COMMONEST: "commonest"}
DATA = "mnist"
GROUP, TRAINED = "D2 accuracy by what was trained on and by capacity", "D2 what the training came to"


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


def named(training: str, scale: int, *, of: str = NATURAL) -> str:
    """The name of the row that has a column."""
    return f"{training}, x{scale}" if of in ACCURACIES else f"training {training}, x{scale}"


def cell(training: str, scale: int, column: str) -> tuple[str, str]:
    """Row and column."""
    return named(training, scale, of=column), column

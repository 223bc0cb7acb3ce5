"""What the calibration table is asked for, the source's figures, and the names of its rows and columns."""

from dataclasses import dataclass
from typing import Any

from holdfast.augment import Crop, Mirror
from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option
from holdfast.train import Recipe, TrainOptions
from holdfast.uncertainty import BBQ, Histogram, Isotonic, Matrix, MatrixODIR, Recalibration, Temperature, Vector

UNCALIBRATED, HISTOGRAM, ISOTONIC, BAYES = "uncalibrated", "histogram binning", "isotonic", "BBQ"
TEMPERATURE, VECTOR, MATRIX, ODIR = "temperature", "vector", "matrix", "matrix, regularised"
BINNING = (HISTOGRAM, ISOTONIC, BAYES)
SOURCES = (HISTOGRAM, ISOTONIC, BAYES, TEMPERATURE, VECTOR, MATRIX)  # the source's six, in its order
METHODS: dict[str, Recalibration] = {
    HISTOGRAM: Histogram(),
    ISOTONIC: Isotonic(),
    BAYES: BBQ(),
    TEMPERATURE: Temperature(),
    VECTOR: Vector(),
    MATRIX: Matrix(),
    ODIR: MatrixODIR(),
}

LENET, RESNET, FASHION = "small net, CIFAR-10", "residual net, CIFAR-10", "small net, Fashion-MNIST"
FIGURES = {  # of Guo et al. 2017, table 1: uncalibrated, then the six methods
    LENET: (0.0302, 0.0156, 0.0185, 0.0159, 0.0093, 0.0115, 0.0116),  # their LeNet-5
    RESNET: (0.046, 0.0058, 0.0081, 0.0054, 0.0083, 0.0088, 0.01),  # their ResNet-110
    FASHION: None,
}
SHORT = {LENET: "small, CIFAR", RESNET: "residual, CIFAR", FASHION: "small, Fashion"}


def published(name: str) -> dict[str, float | None]:
    """The source's expected calibration errors of the row that stands beside ours."""
    figures = FIGURES[name]
    return {} if figures is None else dict(zip((UNCALIBRATED, *SOURCES), figures, strict=True))


def few(name: str) -> str:
    """The row of the same network, with the methods fitted on few pictures."""
    return f"{name}, fitted on few"


def measure_of(method: str, what: str) -> str:
    """The column of another measure than the expected calibration error."""
    return f"{what}, {method}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Networks, how long they learn, and what the methods are fitted on."""

    small: str = option("cnn", "the small network")
    residual: str = option("resnet8", "the residual one")
    pictures: int | None = option(10_000, "that each learns; none: all but the validation split")
    fitted: int | None = option(None, "validation pictures that the methods are fitted on; none: the whole split")
    few: int = option(200, "of them, for a second fit on few")
    tests: int | None = option(None, "test pictures; none: all")
    epochs: int = option(15, "without augmentation in small: long enough to be surer than right")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    weight_decay: float = option(5e-4, "pull of the weights towards 0")
    schedule: str = option("one-cycle", "step size over time")
    augmented: bool = option(False, "whether CIFAR-10 is cropped and mirrored")
    bins: int = option(15, "of the expected calibration error, as in the source")

    def __post_init__(self) -> None:
        """Refuse what no table can be made of; the recipe refuses the rest."""
        architecture(self.small)
        architecture(self.residual)
        self.recipe(self.augmented)
        for name in ("few", "bins"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}={getattr(self, name)!r}; allowed: whole numbers >= 1.")
        if self.fitted is not None and self.fitted < self.few:
            raise OptionError(
                f"few={self.few!r} of fitted={self.fitted!r} pictures; allowed: no more than are fitted on."
            )

    def recipe(self, augmented: bool) -> Recipe:
        """How a network is trained."""
        options: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("epochs", "batch", "optimiser", "learning_rate", "weight_decay", "schedule")
        }
        return Recipe(options=TrainOptions(**options), augment=(Crop(), Mirror()) if augmented else ())


@dataclass(frozen=True)
class Network:
    """A row: which network learns which set."""

    name: str
    data: str
    model: str
    place: str  # the name of its part
    recipe: Recipe


def networks_of(settings: Settings) -> tuple[Network, ...]:
    """The three rows."""
    colour, grey = settings.recipe(settings.augmented), settings.recipe(False)
    return (
        Network(LENET, "cifar-10", settings.small, "calibration/cifar-10-small", colour),
        Network(RESNET, "cifar-10", settings.residual, "calibration/cifar-10-residual", colour),
        Network(FASHION, "fashion-mnist", settings.small, "calibration/fashion-mnist-small", grey),
    )

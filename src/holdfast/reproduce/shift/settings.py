"""What the comparison under shift is asked for, the figures that stand beside, and the names of rows and columns."""

from dataclasses import dataclass
from typing import Any

from holdfast.augment import Crop, Mirror
from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce.shifted import ACCURACY, COMMON, ECE, SEVERITIES, check_corruptions
from holdfast.train import Recipe, TrainOptions

SINGLE, TEMPERATURE, DROPOUT, ENSEMBLE = "single network", "temperature scaling", "Monte Carlo dropout", "ensemble"
METHODS = (SINGLE, TEMPERATURE, DROPOUT, ENSEMBLE)
CLEAN, SHIFTED = "clean", "mean under shift"
COLUMNS = (CLEAN, *(f"severity {severity}" for severity in SEVERITIES), SHIFTED)
WORST = COLUMNS[-2]
SAID = {ACCURACY: "Accuracy", ECE: "Expected calibration error"}
BASELINES = {  # of uncertainty-baselines, a WideResNet-28-10: accuracy and calibration error, each clean and CIFAR-10-C
    SINGLE: ((0.96, 0.761), (0.0231, 0.153)),
    DROPOUT: ((0.961, 0.7), (0.019, 0.167)),  # 30 passes
    ENSEMBLE: ((0.966, 0.779), (0.01, 0.087)),  # 4 members
}


def named(what: str, method: str) -> str:
    """The row of a measure and a method."""
    return f"{method}, {SAID[what].lower()}"


def published(what: str, method: str) -> dict[str, float | None]:
    """What stands beside a row: its ends, as the source has no numbers and the other one no severities."""
    if method not in BASELINES:
        return {}
    clean, under = BASELINES[method][(ACCURACY, ECE).index(what)]
    return {CLEAN: clean, SHIFTED: under}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Set, network and effort."""

    data: str = option("cifar-10", "set of pictures")
    model: str = option("cnn", "the network; with dropout in one row")
    options: tuple[tuple[str, float], ...] = option((("width", 2.0), ("batch_norm", True)), "of the network")
    pictures: int | None = option(10_000, "that are learnt; none: all but the validation split")
    validation: int | None = option(None, "pictures that the temperature is fitted on; none: the whole split")
    tests: int | None = option(1000, "test pictures; none: all")
    corruptions: tuple[str, ...] = option(COMMON, "that are averaged at each severity")
    epochs: int = option(15, "the same for all")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    schedule: str = option("one-cycle", "step size over time")
    augmented: bool = option(False, "whether pictures are cropped and mirrored")
    dropout: float = option(0.3, "share of values set to zero in the network with dropout")
    passes: int = option(20, "of Monte Carlo dropout")
    members: int = option(5, "of the ensemble")

    def __post_init__(self) -> None:
        """Refuse what the table cannot be made of; the recipe refuses the rest."""
        architecture(self.model, {**dict(self.options), "dropout": self.dropout})
        check_corruptions(self.corruptions)
        self.recipe()
        if not self.dropout > 0:
            raise OptionError(f"dropout={self.dropout!r}; allowed: above 0, as one row is about it.")
        for name in ("passes", "members"):
            if getattr(self, name) < 2:
                raise OptionError(f"{name}={getattr(self, name)!r}; allowed: whole numbers >= 2.")

    def recipe(self) -> Recipe:
        """How every network is trained."""
        names = ("epochs", "batch", "optimiser", "learning_rate", "schedule")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Recipe(options=TrainOptions(**options), augment=(Crop(), Mirror()) if self.augmented else ())

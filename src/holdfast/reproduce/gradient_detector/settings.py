"""What the gradient norm's reproduction is asked for, the source's figures, and the names of rows and columns."""

from dataclasses import dataclass, replace
from typing import Any

from holdfast.attacks import CW, PGD, Attack, Bisect, Boundary, EvasiveCW
from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce.part import slug
from holdfast.threats import L2
from holdfast.train import Recipe, TrainOptions

CLEAN, LEAST_PGD, BOUNDARY, CARLINI = "clean", "PGD", "Boundary", "CW"
EVASIVE, DIFFERENCES = "evasive CW", "evasive CW, slope by differences"
FLAGGED, SIZE = "flagged", "median L2"
ALL_STEPS, FOUND, NORM = "flagged, all steps", "found", "median gradient norm"
ACCURACY = "accuracy"

PUBLISHED: dict[str, dict[str, float | None]] = {
    CLEAN: {FLAGGED: 0.06},
    LEAST_PGD: {FLAGGED: 0.96, SIZE: 0.31},
    BOUNDARY: {FLAGGED: 1.00, SIZE: 0.36},
    CARLINI: {FLAGGED: 1.00, SIZE: 0.34},
    EVASIVE: {FLAGGED: 0.22, SIZE: 0.81},
}
SLOPES = {EVASIVE: "double-backward", DIFFERENCES: "differences"}  # of the gradient norm, as the detector calls them


@dataclass(frozen=True)
class Ground:
    """A set, the network that learns it, and the L2 radius of PGD with all its steps."""

    name: str
    data: str  # as `holdfast.data.load` calls it
    model: str
    eps: float
    beside: bool  # whether the source's figures stand beside its rows

    def published(self, row: str) -> dict[str, float | None]:
        """The source's figures."""
        return PUBLISHED.get(row, {}) if self.beside else {}

    def place(self, row: str) -> str:
        """The name of a row's part."""
        return f"gradient-detector/{slug(self.data)}/{slug(row)}"


def named(on: Ground, row: str) -> str:
    """A row of a set."""
    return f"{on.name}: {row}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Networks, the detector, and how hard they are attacked."""

    grey: str = option("cnn", "the network of Fashion-MNIST, and of MNIST")
    colour: str = option("resnet8", "the network of CIFAR-10")
    pictures: int | None = option(10_000, "that each learns; none: all but the validation split")
    epochs: int = option(12, "of training")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    schedule: str = option("one-cycle", "step size over time")
    held_out: int | None = option(1000, "clean validation pictures that the threshold is from; none: all")
    clean: int | None = option(1000, "clean test pictures that false alarms are counted on; none: all")
    attacked: int = option(150, "of these, the first, that are attacked where the network is right")
    false_alarms: float = option(0.05, "share of clean pictures that the threshold may flag")
    grey_eps: float = option(2.0, "L2 radius within which PGD takes all its steps on these")
    colour_eps: float = option(0.5, "that on CIFAR-10")
    steps: int = option(20, "of PGD, in each run")
    searches: int = option(10, "runs of PGD's whole length that looking for the smallest radius may take")
    queries: int = option(3000, "of the boundary attack")
    cw_steps: int = option(50, "of Carlini & Wagner's attack with each weight")
    cw_searches: int = option(8, "weights that it tries")
    evasive_steps: int = option(40, "of the evasive one with each pair of weights")
    evasive_searches: int = option(8, "pairs of weights that it tries")

    def __post_init__(self) -> None:
        """Refuse what no table can be made of; recipe, attacks and threat refuse the rest."""
        architecture(self.grey)
        architecture(self.colour)
        self.recipe()
        self.unaware()
        self.evasive()
        for on in self.grounds():
            L2(eps=on.eps)
        if self.attacked < 1 or (self.clean is not None and self.attacked > self.clean):
            raise OptionError(f"attacked={self.attacked!r}; allowed: from 1 to clean, here {self.clean!r}.")

    def grounds(self) -> tuple[Ground, ...]:
        """The sets."""
        return (
            Ground("CIFAR-10", "cifar-10", self.colour, self.colour_eps, True),
            Ground("Fashion-MNIST", "fashion-mnist", self.grey, self.grey_eps, False),
            Ground("MNIST", "mnist", self.grey, self.grey_eps, False),
        )

    def recipe(self) -> Recipe:
        """How the networks are trained."""
        names = ("epochs", "batch", "optimiser", "learning_rate", "schedule")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Recipe(options=TrainOptions(**options))

    def pgd(self) -> PGD:
        """As it runs within a radius."""
        return PGD(steps=self.steps)

    def unaware(self) -> dict[str, Attack]:
        """Who does not know the detector, each out for the smallest change, by the row's name."""
        return {
            LEAST_PGD: Bisect(attack=replace(self.pgd(), random_start=False), searches=self.searches),
            BOUNDARY: Boundary(queries=self.queries),
            CARLINI: CW(steps=self.cw_steps, searches=self.cw_searches),
        }

    def evasive(self) -> EvasiveCW:
        """Who does."""
        return EvasiveCW(steps=self.evasive_steps, searches=self.evasive_searches)

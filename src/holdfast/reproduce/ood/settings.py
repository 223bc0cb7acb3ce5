"""What the comparison of scores is asked for, the figures that stand beside, and the names of rows and columns."""

from dataclasses import dataclass
from typing import Any

from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option
from holdfast.train import Recipe, TrainOptions
from holdfast.uncertainty.scores import (
    GEN,
    Energy,
    Entropy,
    Mahalanobis,
    MaxLogit,
    MaxProbability,
    Nearest,
    ReAct,
    Score,
    ViM,
)

AUROC, FPR, AUPR, ACCURACY = "AUROC", "FPR at 95 % TPR", "AUPR, unfamiliar", "accuracy"
NEAR, FAR = "AUROC, near sets of OpenOOD", "AUROC, far sets of OpenOOD"
SCORES: tuple[Score, ...] = (
    MaxProbability(),
    Entropy(),
    MaxLogit(),
    Energy(),
    GEN(),
    Mahalanobis(),
    Nearest(),
    ViM(),
    ReAct(),
)
OPENOOD = {  # version 1.5, CIFAR-10: mean AUROC over near sets (CIFAR-100, TinyImageNet) and four far ones
    MaxProbability.name: (0.8803, 0.9073),
    MaxLogit.name: (0.8752, 0.9110),
    Energy.name: (0.8758, 0.9121),
    GEN.name: (0.8820, 0.9135),
    Mahalanobis.name: (0.8420, 0.8972),
    Nearest.name: (0.9064, 0.9296),
    ViM.name: (0.8868, 0.9348),
    ReAct.name: (0.8711, 0.9042),
}
COLOUR, OPEN, GREY = "CIFAR-10", "CIFAR-10 without two classes", "MNIST"
SVHN = "svhn"


@dataclass(frozen=True)
class Pair:
    """What a network learns, and what it was not trained for."""

    network: str
    outside: str  # a set as `holdfast.data.load` calls it
    name: str  # for people


@dataclass(frozen=True)
class Network:
    """A network and the set that it learns."""

    name: str
    data: str
    model: str
    place: str  # the name of its part


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Networks and effort."""

    colour: str = option("resnet8", "the network of CIFAR-10")
    grey: str = option("cnn", "the network of MNIST")
    held_out: tuple[int, ...] = option((5, 9), "classes of CIFAR-10 that one network never sees: dogs and trucks")
    pictures: int | None = option(10_000, "that each learns, and scores are fitted on; none: all")
    tests: int | None = option(2000, "familiar pictures, and as many unfamiliar ones; none: all")
    epochs: int = option(12, "of training")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    schedule: str = option("one-cycle", "step size over time")

    def __post_init__(self) -> None:
        """Refuse what no table can be made of; the recipe refuses the rest."""
        architecture(self.colour)
        architecture(self.grey)
        self.recipe()
        if not 1 <= len(set(self.held_out)) == len(self.held_out) <= 8 or not set(self.held_out) <= set(range(10)):
            raise OptionError(f"held_out={self.held_out!r}; allowed: one to eight classes from 0 to 9, each once.")

    def recipe(self) -> Recipe:
        """How each network is trained."""
        names = ("epochs", "batch", "optimiser", "learning_rate", "schedule")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Recipe(options=TrainOptions(**options))

    @property
    def named(self) -> str:
        """The classes held out, as `holdfast.data.load` wants them."""
        return ",".join(map(str, self.held_out))


def networks_of(settings: Settings) -> tuple[Network, ...]:
    """The networks."""
    return (
        Network(COLOUR, "cifar-10", settings.colour, "ood/cifar-10"),
        Network(OPEN, f"cifar-10:without={settings.named}", settings.colour, "ood/cifar-10-open"),
        Network(GREY, "mnist", settings.grey, "ood/mnist"),
    )


def pairs_of(settings: Settings) -> tuple[Pair, ...]:
    """What each network is judged against."""
    return (
        Pair(COLOUR, SVHN, "CIFAR-10 against SVHN"),
        Pair(COLOUR, "mnist", "CIFAR-10 against MNIST"),
        Pair(COLOUR, "fashion-mnist", "CIFAR-10 against Fashion-MNIST"),
        Pair(OPEN, f"cifar-10:only={settings.named}", "CIFAR-10 against classes held out"),
        Pair(GREY, "fashion-mnist", "MNIST against Fashion-MNIST"),
    )

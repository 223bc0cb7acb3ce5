"""What the auxiliary classifier's reproduction is asked for, and the names of rows and columns."""

from dataclasses import dataclass
from typing import Any, Literal

from holdfast.attacks import CW, FGSM, PGD, Attack, DeepFool, EvasiveCW, OrthogonalPGD
from holdfast.detect import Auxiliary
from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce.part import slug
from holdfast.train import Recipe, TrainOptions

FAST, FIRST, ALL_STEPS = "FGSM", "PGD, first success", "PGD, all steps"
DEEP, CARLINI = "DeepFool", "CW"
ATTACKS = (FAST, FIRST, ALL_STEPS, DEEP, CARLINI)

DETECTED, AWARE, AUROC = "detected", "detected, aware", "AUROC"
SIZE, AWARE_SIZE = "median size", "median size, aware"
ACCURACY, ALARMS, COST, PAIRS = "accuracy", "false alarms", "cost", "pairs learnt from"
OF_ATTACKS = (DETECTED, AUROC, SIZE, AWARE, AWARE_SIZE)
OF_DETECTORS = (ALARMS, COST, PAIRS)

Form = Literal["separate", "branched"]
Training = Literal["static", "dynamic"]


@dataclass(frozen=True)
class Ground:
    """A set, and the classifier that learns it."""

    name: str
    data: str  # as `holdfast.data.load` calls it
    model: str
    eps: float  # Linf radius of FGSM and PGD, those that detectors learn from too

    @property
    def place(self) -> str:
        """The beginning of its parts' names."""
        return f"auxiliary-detector/{slug(self.data)}"


@dataclass(frozen=True)
class Kind:
    """One of the four detectors."""

    form: Form
    training: Training

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.form}, {self.training}"


KINDS = (
    Kind("separate", "static"),
    Kind("separate", "dynamic"),
    Kind("branched", "static"),
    Kind("branched", "dynamic"),
)


def named(on: Ground, kind: Kind, attack: str = "") -> str:
    """The row of a detector, or of an attack on it."""
    name = f"{on.name}, {kind.name}"
    return f"{name}: {attack}" if attack else name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Classifiers, detectors, and how hard both are attacked."""

    grey: str = option("cnn", "the classifier of Fashion-MNIST")
    colour: str = option("resnet8", "the classifier of CIFAR-10")
    pictures: int | None = option(10_000, "that each learns; none: all but the validation split")
    epochs: int = option(6, "of training them")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    schedule: str = option("one-cycle", "step size over time")
    fitted_on: int | None = option(1000, "of these, the first, that detectors learn from; none: all")
    detector_epochs: int = option(12, "of training the detectors")
    minibatch: int = option(16, "pairs a step of theirs")
    network: str = option("cnn", "a detector that is a network of its own")
    channels: int = option(16, "of a branch")
    held_out: int | None = option(1000, "clean validation pictures that thresholds are from; none: all")
    clean: int | None = option(1000, "clean test pictures that false alarms are counted on; none: all")
    attacked: int = option(100, "of these, the first, that are attacked where the classifier is right")
    false_alarms: float = option(0.05, "share of clean pictures that a threshold may flag")
    grey_eps: float = option(0.1, "Linf radius of FGSM and PGD on Fashion-MNIST")
    colour_eps: float = option(8 / 255, "that on CIFAR-10")
    learning_steps: int = option(10, "of the PGD that detectors learn from")
    steps: int = option(20, "of PGD, and of those who know the detector within the radius")
    cw_steps: int = option(30, "of Carlini & Wagner's attack, the evasive one too, with each weight")
    cw_searches: int = option(6, "weights that they try")

    def __post_init__(self) -> None:
        """Refuse what no table can be made of; recipe, detectors, attacks and threat refuse the rest."""
        architecture(self.grey)
        architecture(self.colour)
        self.recipe()
        self.attacks()
        self.evasions(minimal=True)
        for on in self.grounds():
            for kind in KINDS:
                self.detector(kind, on.eps)
        if self.attacked < 1 or (self.clean is not None and self.attacked > self.clean):
            raise OptionError(f"attacked={self.attacked!r}; allowed: from 1 to clean, here {self.clean!r}.")

    def grounds(self) -> tuple[Ground, ...]:
        """Both sets."""
        return (
            Ground("Fashion-MNIST", "fashion-mnist", self.grey, self.grey_eps),
            Ground("CIFAR-10", "cifar-10", self.colour, self.colour_eps),
        )

    def recipe(self) -> Recipe:
        """How the classifiers are trained."""
        names = ("epochs", "batch", "optimiser", "learning_rate", "schedule")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return Recipe(options=TrainOptions(**options))

    def detector(self, kind: Kind, eps: float) -> Auxiliary:
        """One of the four, that learns from PGD within a radius."""
        return Auxiliary(
            form=kind.form,
            training=kind.training,
            network=self.network if kind.form == "separate" else None,
            channels=self.channels if kind.form == "branched" else None,
            attack="pgd",
            attack_options=(f"steps={self.learning_steps}", f"step_size={2.5 / self.learning_steps:g}"),
            eps=eps,
            epochs=self.detector_epochs,
            minibatch=self.minibatch,
        )

    def attacks(self) -> dict[str, Attack]:
        """By the row's name; of PGD stand two rows."""
        pgd = PGD(steps=self.steps)
        carlini = CW(steps=self.cw_steps, searches=self.cw_searches)
        return {FAST: FGSM(), FIRST: pgd, ALL_STEPS: pgd, DEEP: DeepFool(), CARLINI: carlini}

    def evasions(self, *, minimal: bool) -> tuple[Attack, ...]:
        """Those that only make sense against a detector."""
        if minimal:
            return (EvasiveCW(steps=self.cw_steps, searches=self.cw_searches),)
        return (
            OrthogonalPGD(steps=self.steps, projection="selective"),
            OrthogonalPGD(steps=self.steps),
        )

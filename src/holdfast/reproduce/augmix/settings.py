"""What the comparison is asked for, its figures that stand beside, and what each row trains with."""

from dataclasses import dataclass, replace
from typing import Any

from holdfast.attacks import PGD
from holdfast.augment import Crop, Mirror
from holdfast.errors import OptionError
from holdfast.models import architecture
from holdfast.options import option
from holdfast.reproduce.shifted import BACKWARD, COMMON, FORWARD, SECONDS, check_corruptions
from holdfast.threats import Linf
from holdfast.train import Adversary, Consistency, Recipe, TrainOptions

PLAIN, AUGMENTED, AUGMIX, BOTH = "plain", "augmentation", "AugMix", "AugMix and augmentation"
HARDENED, ENSEMBLE = "adversarial training", "ensemble"
SINGLE = (PLAIN, AUGMENTED, AUGMIX, BOTH, HARDENED)
VARIANTS = (*SINGLE, ENSEMBLE)
CLEAN, CORRUPTED = "clean accuracy", "mean corruption error"
ECE_CLEAN, ECE_SHIFT = "ECE, clean", "ECE under corruption"
ANSWER = "passes an answer"
READ = (CLEAN, CORRUPTED, ECE_CLEAN, ECE_SHIFT, FORWARD, BACKWARD, SECONDS, ANSWER)
ROBUSTBENCH = {  # clean accuracy and mean corruption error on CIFAR-10-C, as that leaderboard has them
    AUGMENTED: {CLEAN: 0.9478, CORRUPTED: 1 - 0.7346},  # "Standard", a WideResNet-28-10
    BOTH: {CLEAN: 0.9508, CORRUPTED: 1 - 0.8882},  # a WideResNet-40-2
}


def named(data: str, variant: str) -> str:
    """The row of a set and a variant."""
    return f"{data}, {variant}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sets, network, effort, and how strong each remedy is."""

    sets: tuple[str, ...] = option(("fashion-mnist", "cifar-10"), "of pictures")
    model: str = option("cnn", "the network")
    options: tuple[tuple[str, float], ...] = option((("width", 2.0), ("batch_norm", True)), "of the network")
    pictures: int | None = option(10_000, "that are learnt of each set; none: all but the validation split")
    tests: int | None = option(1000, "test pictures; none: all")
    corruptions: tuple[str, ...] = option(COMMON, "whose five severities are averaged")
    epochs: int = option(10, "the same for all")
    batch: int = option(128, "pictures a step")
    optimiser: str = option("adamw", "how the gradient becomes a step")
    learning_rate: float = option(0.003, "largest step size")
    schedule: str = option("one-cycle", "step size over time")
    pad: int = option(2, "pixels by which crops are shifted at most")
    consistency: float = option(12.0, "weight of AugMix's Jensen-Shannon term")
    eps: float = option(4 / 255, "Linf radius of adversarial training")
    inner_steps: int = option(3, "of PGD in adversarial training")
    members: int = option(5, "of the ensemble")

    def __post_init__(self) -> None:
        """Refuse what the table cannot be made of; the recipes refuse the rest."""
        architecture(self.model, dict(self.options))
        check_corruptions(self.corruptions)
        recipes(self)
        if not self.sets or len(set(self.sets)) < len(self.sets):
            raise OptionError(f"sets={self.sets!r}; allowed: at least one, each once, such as cifar-10.")
        if self.members < 2:
            raise OptionError(f"members={self.members!r}; allowed: whole numbers >= 2.")


def recipes(settings: Settings) -> dict[str, Recipe]:
    """What a single network of each row trains with; the ensemble's members train plainly."""
    options: dict[str, Any] = {
        name: getattr(settings, name) for name in ("epochs", "batch", "optimiser", "learning_rate", "schedule")
    }
    plain = Recipe(options=TrainOptions(**options, attacked=0))
    changes = (Crop(pad=settings.pad), Mirror())
    mixed = replace(plain, penalties=(Consistency(weight=settings.consistency),))
    attack = PGD(steps=settings.inner_steps, step_size=2.5 / settings.inner_steps)
    return {
        PLAIN: plain,
        AUGMENTED: replace(plain, augment=changes),
        AUGMIX: mixed,
        BOTH: replace(mixed, augment=changes),
        HARDENED: replace(plain, adversary=Adversary(attack, Linf(eps=settings.eps))),
    }

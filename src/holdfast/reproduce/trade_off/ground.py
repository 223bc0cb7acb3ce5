"""What the experiments share: pictures, the network, the inner attack and the attack of the test."""

from dataclasses import dataclass
from typing import Any

from holdfast.attacks import PGD
from holdfast.data import Pictures
from holdfast.errors import OptionError
from holdfast.models import Card
from holdfast.options import option
from holdfast.reproduce import networks
from holdfast.reproduce.bench import Bench
from holdfast.threats import Linf
from holdfast.train import Adversary, Recipe, TrainOptions, card_for
from holdfast.train.step import Penalty


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Pictures, batches and attacks of all experiments here.

    Raises: `OptionError` for fewer pictures than can be drawn.
    """

    data: str = option("fashion-mnist", "the set of pictures")
    training: int | None = option(10_000, "training pictures, where an experiment has no number of its own; none: all")
    test: int | None = option(1000, "test pictures; none: all")
    batch: int = option(128, "pictures a step")
    steps: int = option(7, "of PGD in training")
    step_size: float = option(0.25, "of these steps, in units of eps")
    warm_up: float = option(0.3, "share of adversarial training in which eps grows from 0")
    test_steps: int = option(20, "of PGD in the test")
    test_step_size: float = option(0.1, "of these steps, in units of eps")

    def __post_init__(self) -> None:
        for name in ("training", "test"):
            count = getattr(self, name)
            if count is not None and count < SHOWN:
                raise OptionError(
                    f"Ground: {name}={count!r}; allowed: whole numbers from {SHOWN}, or none for all. "
                    "That many are shown as pictures."
                )

    def inner(self, steps: int | None = None) -> PGD:
        """The attack of adversarial training."""
        return PGD(steps=steps or self.steps, step_size=self.step_size)

    def judge(self) -> PGD:
        """The attack of the test."""
        return PGD(steps=self.test_steps, step_size=self.test_step_size)


SHOWN = 8  # pictures in a row of a figure


def training(bench: Bench, ground: Ground, limit: int | None = None) -> Pictures:
    """The first training pictures."""
    return networks.pictures(bench, ground.data, "train", limit or ground.training)


def testing(bench: Bench, ground: Ground) -> Pictures:
    """The first test pictures."""
    return networks.pictures(bench, ground.data, "test", ground.test)


def card_of(pictures: Pictures, width: float) -> Card:
    """The `cnn` of a width."""
    return card_for("cnn", pictures, {"width": width})


def recipe(ground: Ground, *, eps: float = 0.0, penalties: tuple[Penalty, ...] = (), **options: Any) -> Recipe:
    """PGD training within `eps` in Linf, or ordinary training for 0; `options` of `TrainOptions`."""
    adversary = Adversary(ground.inner(), Linf(eps=eps)) if eps else None
    warm_up = ground.warm_up if eps else 0.0
    made = TrainOptions(**{"batch": ground.batch, "attacked": 0, "warm_up": warm_up, **options})
    return Recipe(options=made, adversary=adversary, penalties=penalties)

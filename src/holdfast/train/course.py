"""What decides the weights beside model and data, and where in the training a step stands."""

import hashlib
from dataclasses import dataclass, field

from holdfast.train.options import TrainOptions
from holdfast.train.recipe import Recipe
from holdfast.train.world import Alone, World


@dataclass(frozen=True)
class Course:
    """Everything but model and data that decides the weights."""

    recipe: Recipe
    seed: int
    world: World = field(default_factory=Alone)
    start: str | None = None  # hash of the weights it begins with, where they are given

    @property
    def options(self) -> TrainOptions:
        """Those of the recipe."""
        return self.recipe.options

    @property
    def unit(self) -> int:
        """How many pictures stay together, whoever gets them: those that batch norm takes together."""
        return self.options.ghost or max(1, self.options.batch // self.world.size)

    def key(self, *use: object) -> int:
        """A seed of its own for every use, so that a resumed run needs no generator's state."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *use))).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Moment:
    """A step of an epoch, both from 1."""

    epoch: int
    step: int
    steps: int  # in an epoch

    def __str__(self) -> str:
        return f"step {self.step} of {self.steps} in epoch {self.epoch}"

    def share(self, options: TrainOptions) -> float:
        """How much of the training lies behind, in [0, 1)."""
        return (self.epoch - 1 + (self.step - 1) / self.steps) / options.epochs

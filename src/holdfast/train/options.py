"""The options of training that decide what comes out, beside data, model, adversary and seed."""

import math
from dataclasses import dataclass
from typing import Literal

from holdfast.errors import OptionError
from holdfast.options import option

USUAL_RATE = {"adamw": 0.003, "adam": 0.003, "sgd": 0.05}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long, in what steps, and how much of a batch is adversarial.

    The defaults bring the small `cnn` to about 91 % on Fashion-MNIST in ten epochs.
    Raises: `OptionError` for a value outside what is allowed.
    """

    epochs: int = option(10, "times that every training picture is seen")
    batch: int = option(128, "pictures a step")
    optimiser: Literal["adamw", "adam", "sgd"] = option("adamw", "how the gradient becomes a step")
    learning_rate: float | None = option(None, "largest step size; none: 0.003, and 0.05 for sgd")
    weight_decay: float = option(5e-4, "pull of the weights towards 0")
    momentum: float = option(0.9, "share of the last step that goes on, for sgd (Nesterov)")
    schedule: Literal["one-cycle", "constant"] = option(
        "one-cycle", "step size over time: up for a fifth of the training then down to 0, or always the same"
    )
    mix: float = option(1.0, "share of adversarial pictures in a batch, in adversarial training")
    warm_up: float = option(0.0, "share of the training in which eps grows from 0, in adversarial training")
    attacked: int = option(200, "validation pictures attacked after each epoch, in adversarial training")

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        self._whole("epochs", 1)
        self._whole("batch", 1)
        self._whole("attacked", 0)
        if self.learning_rate is not None:
            self._within("learning_rate", self.learning_rate > 0, "finite numbers > 0")
        self._within("weight_decay", self.weight_decay >= 0, "finite numbers >= 0")
        self._within("momentum", 0 <= self.momentum < 1, "0 <= momentum < 1")
        self._within("mix", 0 < self.mix <= 1, "0 < mix <= 1; for no adversarial pictures, name no attack")
        self._within("warm_up", 0 <= self.warm_up <= 1, "0 <= warm_up <= 1")
        if self.optimiser not in USUAL_RATE or self.schedule not in ("one-cycle", "constant"):
            raise OptionError(
                f"TrainOptions: optimiser={self.optimiser!r}, schedule={self.schedule!r}; allowed: optimiser "
                f"{', '.join(USUAL_RATE)}; schedule one-cycle, constant."
            )

    @property
    def peak(self) -> float:
        """The largest step size."""
        return USUAL_RATE[self.optimiser] if self.learning_rate is None else self.learning_rate

    def _whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise OptionError(f"TrainOptions: {name}={value!r}; allowed: whole numbers >= {least}.")

    def _within(self, name: str, fits: bool, allowed: str) -> None:
        value = getattr(self, name)
        if not (fits and math.isfinite(value)):
            raise OptionError(f"TrainOptions: {name}={value!r}; allowed: {allowed}.")

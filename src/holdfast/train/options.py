"""The options of training that decide what comes out, beside data, model, adversary and seed."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from holdfast.errors import OptionError
from holdfast.options import option

USUAL_RATE = {"adamw": 0.003, "adam": 0.003, "sgd": 0.05}
CLOSED = ("optimiser", "decay", "schedule", "average", "watch", "precision")  # options that are one of a few words


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long, in what steps, what is kept, and how much of a batch is adversarial.

    The defaults bring the small `cnn` to about 91 % on Fashion-MNIST in ten epochs.
    Raises: `OptionError` for a value outside what is allowed.
    """

    epochs: int = option(10, "times that every training picture is seen")
    batch: int = option(128, "pictures a step, over all processes")
    optimiser: Literal["adamw", "adam", "sgd"] = option("adamw", "how the gradient becomes a step")
    learning_rate: float | None = option(None, "largest step size; none: 0.003, and 0.05 for sgd")
    weight_decay: float = option(5e-4, "pull of the weights towards 0")
    decay: Literal["all", "weights"] = option("all", "what is pulled: everything, or all but biases and norms")
    momentum: float = option(0.9, "share of the last step that goes on, for sgd (Nesterov)")
    schedule: Literal["one-cycle", "cosine", "step", "plateau", "constant"] = option(
        "one-cycle", "step size over time: see docs, `rise` and `milestones`, `factor`, `stalled`"
    )
    rise: float | None = option(
        None, "share of the training in which the step size grows; none: 0.2 in one-cycle, or 0"
    )
    milestones: tuple[float, ...] = option((0.5, 0.75), "shares of the training at which `step` takes `factor`")
    factor: float = option(0.1, "what the step size is multiplied by, in `step` and `plateau`")
    stalled: int = option(10, "epochs without a lower validation error after which `plateau` takes `factor`")
    clip: float | None = option(None, "largest L2 norm of the gradient; none: any")
    average: Literal["none", "ema", "swa"] = option(
        "none", "what is kept: the weights, or a mean of those of many steps"
    )
    average_decay: float = option(0.999, "share of the mean that a step leaves, for ema")
    average_from: float = option(0.75, "share of the training after which swa takes the mean of every epoch's weights")
    watch: Literal["none", "validation", "robust"] = option(
        "none", "whose best epoch is kept: none, the last; right answers; or those that hold under attack"
    )
    patience: int | None = option(None, "epochs without a better one after which training stops; none: never")
    precision: Literal["float32", "bfloat16"] = option("float32", "of the passes; weights stay as they are")
    channels_last: bool = option(False, "memory layout that many GPUs convolve faster in")
    ghost: int | None = option(None, "pictures that batch norm takes together, whatever the batch; none: all")
    mix: float = option(1.0, "share of adversarial pictures in a batch, in adversarial training")
    warm_up: float = option(0.0, "share of the training in which eps grows from 0, in adversarial training")
    attacked: int = option(200, "validation pictures attacked after each epoch, in adversarial training")

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        for name, least in (("epochs", 1), ("batch", 1), ("attacked", 0), ("stalled", 1)):
            self._whole(name, least)
        for name in ("patience", "ghost"):
            if getattr(self, name) is not None:
                self._whole(name, 1)
        for name in ("learning_rate", "clip"):
            if getattr(self, name) is not None:
                self._within(name, getattr(self, name) > 0, "finite numbers > 0")
        self._within("weight_decay", self.weight_decay >= 0, "finite numbers >= 0")
        self._within("momentum", 0 <= self.momentum < 1, "0 <= momentum < 1")
        self._within("factor", 0 < self.factor < 1, "0 < factor < 1")
        self._within("average_decay", 0 < self.average_decay < 1, "0 < average_decay < 1")
        self._within("average_from", 0 <= self.average_from < 1, "0 <= average_from < 1")
        self._within("mix", 0 < self.mix <= 1, "0 < mix <= 1; for no adversarial pictures, name no attack")
        self._within("warm_up", 0 <= self.warm_up <= 1, "0 <= warm_up <= 1")
        if self.rise is not None:
            self._within("rise", 0 <= self.rise < 1, "0 <= rise < 1")
        self._closed()
        self._together()

    @property
    def peak(self) -> float:
        """The largest step size."""
        return USUAL_RATE[self.optimiser] if self.learning_rate is None else self.learning_rate

    def _closed(self) -> None:
        """Raise for a word that is none of those allowed, and for milestones out of order."""
        hints = get_type_hints(type(self))
        for name in CLOSED:
            if getattr(self, name) not in get_args(hints[name]):
                raise self._refusal(name, ", ".join(get_args(hints[name])))
        shares = self.milestones
        if not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
            raise self._refusal("milestones", "shares of the training between 0 and 1, in order, such as 0.5,0.75")

    def _together(self) -> None:
        """Raise for options that contradict each other."""
        if self.patience is not None and self.watch == "none":
            raise OptionError(
                f"TrainOptions: patience={self.patience} with watch='none'; allowed: with watch=validation or "
                "watch=robust, which say what is to get better."
            )
        if self.ghost is not None and self.ghost < 2:
            raise self._refusal("ghost", "whole numbers >= 2: batch norm cannot be trained on one picture")

    def _whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._refusal(name, f"whole numbers >= {least}")

    def _within(self, name: str, fits: bool, allowed: str) -> None:
        if not (fits and math.isfinite(getattr(self, name))):
            raise self._refusal(name, allowed)

    def _refusal(self, name: str, allowed: str) -> OptionError:
        given: Any = getattr(self, name)
        return OptionError(f"TrainOptions: {name}={given!r}; allowed: {allowed}.")

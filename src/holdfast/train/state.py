"""Where a training stands: all that changes from one step to the next, so that a kill may come after any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from holdfast.train.averaging import judged, make_average
from holdfast.train.history import Count, Epoch, best_of
from holdfast.train.optimiser import make_optimiser
from holdfast.train.options import TrainOptions
from holdfast.train.passes import Passes
from holdfast.train.steps import Outcome
from holdfast.train.world import World, largest


@dataclass
class Tally:
    """The sums of an epoch that is under way, of this process's pictures."""

    loss: Tensor  # () float64
    right: Tensor  # () int64
    means: dict[str, Tensor] = field(default_factory=dict)  # () float64 sums
    largest: dict[str, Tensor] = field(default_factory=dict)  # ()
    passes: list[int] = field(default_factory=lambda: [0, 0])

    @classmethod
    def empty(cls, device: torch.device) -> "Tally":
        """Before the first step."""
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return cls(zero, zero.to(torch.int64))

    def go(self, passes: Passes) -> None:
        """Take in the passes counted since the last time."""
        self.passes = [sum(pair) for pair in zip(self.passes, passes.taken(), strict=True)]

    def add(self, outcome: Outcome) -> None:
        """Take in a step."""
        self.loss = self.loss + outcome.loss.double()
        self.right = self.right + outcome.right
        for name, values in outcome.figures.items():
            sum_, top = values.double().sum() / outcome.copies, largest(values).double()
            self.means[name] = self.means[name] + sum_ if name in self.means else sum_
            self.largest[name] = torch.maximum(self.largest[name], top) if name in self.largest else top

    def whole(self, world: World) -> "Tally":
        """The sums over all processes."""
        if world.size == 1:
            return self
        names = sorted(self.means)
        passes = torch.tensor(self.passes, dtype=torch.float64, device=self.loss.device)
        means = [self.means[name] for name in names]
        loss, right, ahead, back, *means = world.total(torch.stack([self.loss, self.right.double(), *passes, *means]))
        tops = world.largest(torch.stack([self.largest[name] for name in names])) if names else ()
        largest = dict(zip(names, tops, strict=True))
        means_by_name = dict(zip(names, means, strict=True))
        return Tally(loss, right.to(torch.int64), means_by_name, largest, [int(ahead), int(back)])

    def beside(self) -> "Tally":
        """What another process has where the first one has all of this."""
        zeros = {name: torch.zeros_like(mean) for name, mean in self.means.items()}
        return Tally(torch.zeros_like(self.loss), torch.zeros_like(self.right), zeros, self.largest)

    def epoch(self, number: int, count: int, rate: float) -> Epoch:
        """The record of an epoch over `count` pictures; asked of the whole."""
        sums = {name: float(mean) / count for name, mean in self.means.items()}
        figures = {name: (sums[name], float(self.largest[name])) for name in sorted(sums)}
        ahead, back = (round(value / count, 4) for value in self.passes)
        right = Count(int(self.right), count)
        return Epoch(number, float(self.loss) / count, right, None, None, rate, (ahead, back), figures)


@dataclass
class State:
    """Model, optimiser, mean of the weights, epochs behind, steps of the next one, and the best weights so far."""

    model: nn.Module
    optimiser: optim.Optimizer
    average: AveragedModel | None
    tally: Tally
    history: tuple[Epoch, ...] = ()
    step: int = 0  # done in the epoch after those of the history
    best: dict[str, Tensor] | None = None  # weights of the best epoch, where one is watched

    @classmethod
    def begin(cls, model: nn.Module, options: TrainOptions, device: torch.device) -> "State":
        """Before the first step."""
        return cls(model, make_optimiser(model, options), make_average(model, options), Tally.empty(device))

    @property
    def epoch(self) -> int:
        """The number of the epoch under way, from 1."""
        return len(self.history) + 1

    def finish_epoch(self, epoch: Epoch, options: TrainOptions) -> None:
        """Take in an epoch that is over, and its weights where it is the best so far."""
        self.history = (*self.history, epoch)
        self.step, self.tally = 0, Tally.empty(self.tally.loss.device)
        if options.watch != "none" and best_of(self.history, options.watch) is epoch:
            self.best = copied(judged(self.average, self.model))

    def plain(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors, numbers and text only."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "tally": vars(self.tally),
            "history": [epoch.plain() for epoch in self.history],
            "step": self.step,
            "best": self.best,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Put back what `plain` gave."""
        device = self.tally.loss.device
        self.model.load_state_dict(plain["model"])
        self.optimiser.load_state_dict(plain["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(plain["average"])
        self.tally = Tally(**{name: moved(value, device) for name, value in plain["tally"].items()})
        self.history = tuple(Epoch.read(epoch) for epoch in plain["history"])
        self.step = int(plain["step"])
        self.best = None if plain["best"] is None else moved(plain["best"], device)

    def alike(self, world: World) -> None:
        """Make every process stand where the first one stands."""
        if world.size == 1:
            return
        whole = world.share(self.plain)
        if world.rank:
            self.restore(whole)
            self.tally = self.tally.beside()

    def results(self, options: TrainOptions) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The weights to keep, of the best epoch or the last, and those of the last."""
        last = copied(judged(self.average, self.model))  # the model will be given those to keep
        return (last if self.best is None else self.best), last


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Its weights and buffers, which stay what they are when the model moves on."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def moved(value: Any, device: torch.device) -> Any:
    """Tensors on the device, also within a dict; everything else as it is."""
    if isinstance(value, dict):
        return {name: moved(part, device) for name, part in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value

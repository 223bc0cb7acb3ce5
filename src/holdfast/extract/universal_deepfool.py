"""A universal perturbation by DeepFool: the smallest change that each picture still needs is added to it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.attacks import DeepFool, smallest
from holdfast.attacks.options import at_least, positive
from holdfast.draws import Draws
from holdfast.extract.shared_change import Task, added, brought_inside, predictions
from holdfast.threats import L2


@dataclass(frozen=True, kw_only=True)
class UniversalDeepFool:
    """Go from picture to picture; where the change so far does not fool one, add what DeepFool finds it needs, project.

    One picture after the other, so that every change is seen by the next: there is nothing to batch. What a picture
    needs is measured in L2 whatever the threat, as published; the sum is brought back into the threat's radius.
    Cost: `epochs` forward passes a picture, DeepFool's passes for each that is not fooled yet, and as many forward
    passes as before to count what is fooled.
    Source: Moosavi-Dezfooli, Fawzi, Fawzi & Frossard 2017, arXiv:1610.08401, algorithm 1, which ends at a share of 0.8.
    """

    epochs: int = field(default=5, metadata={"help": "times that all pictures are seen, at most"})
    pictures: int = field(default=500, metadata={"help": "how many it is fitted on, the first of the training split"})
    steps: int = field(default=10, metadata={"help": "of DeepFool for a picture"})
    candidates: int | None = field(
        default=9, metadata={"help": "how many of the likeliest wrong classes DeepFool considers; none: all"}
    )
    enough: float = field(default=0.8, metadata={"help": "share of fooled pictures at which the fit ends"})
    name: ClassVar[str] = "universal-deepfool"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "epochs", "pictures")
        positive(self, "enough")
        self.each()  # refuses its own options

    def each(self) -> DeepFool:
        """What is asked for a picture."""
        return DeepFool(steps=self.steps, candidates=self.candidates)

    def changes(self, task: Task) -> Iterator[Tensor]:
        """The change (1, C, H, W) after each pass over the pictures."""
        delta, draws = torch.zeros_like(task.x[:1]), Draws(task.seed, task.place)
        for epoch in range(self.epochs):
            order = draws.at(epoch).uniform(task.x.new_empty(len(task.x), 1))[:, 0].argsort(stable=True)
            for row in order.tolist():
                delta = self.further(task, delta, row)
            yield delta

    def further(self, task: Task, delta: Tensor, row: int) -> Tensor:
        """The change with what one picture still needs; a picture that is fooled costs one forward pass."""
        x, y, target = added(task.x[row : row + 1], delta, task.threat), task.goal.y[row : row + 1], task.goal.target
        if target is not None:  # towards a class it goes on from whatever class the picture is taken for by now
            y, target = predictions(task.model, x, 1), target[row : row + 1]
        within = L2(eps=0.0, low=task.threat.low, high=task.threat.high)
        found = smallest(self.each(), task.model, x, y, within, target=target, seed=task.seed, batch=task.batch)
        return brought_inside(delta + (found.x_adv - x), task.threat)

"""A universal perturbation by gradients: one change for all pictures, along the mean gradient of a clipped loss."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from holdfast.access import Meter, Oracle, Part
from holdfast.attacks.options import LossName, at_least, positive
from holdfast.draws import Draws
from holdfast.extract.shared_change import Task, added, brought_inside
from holdfast.lanes import take
from holdfast.losses import OBJECTIVES, Objective


@dataclass(frozen=True, kw_only=True)
class Universal:
    """Ascend the mean loss of all pictures in one change, a step for every few of them, back into the radius each time.

    A step goes along the threat's steepest direction for the mean gradient. The loss of each picture is clipped from
    above, lest those that are long fooled decide the way; and where the box stops a picture's value, the change
    there does nothing and gets no gradient.
    The order of the pictures is drawn anew for each pass over them. Begins at no change at all.
    Cost: `epochs` forward and backward passes a picture, and as many forward passes to count what is fooled.
    Source: Shafahi et al. 2020, arXiv:1811.11304, algorithm 2, with a clip at 9; here by steepest steps in units of the
    radius in any norm.
    """

    epochs: int = field(default=10, metadata={"help": "times that all pictures are seen, at most"})
    pictures: int = field(default=1000, metadata={"help": "how many it is fitted on, the first of the training split"})
    together: int = field(default=50, metadata={"help": "pictures a step"})
    step_size: float = field(default=0.1, metadata={"help": "length of a step, in units of eps"})
    clip: float = field(default=9.0, metadata={"help": "the most that a picture's loss counts for"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    enough: float = field(default=1.0, metadata={"help": "share of fooled pictures at which the fit ends"})
    name: ClassVar[str] = "universal"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "epochs", "pictures", "together")
        positive(self, "step_size", "clip", "enough")

    def changes(self, task: Task) -> Iterator[Tensor]:
        """The change (1, C, H, W) after each pass over the pictures."""
        oracle = Oracle(task.model, task.batch, Meter(len(task.x), task.x.device))
        delta, draws = torch.zeros_like(task.x[:1]), Draws(task.seed, task.place)
        for epoch in range(self.epochs):
            order = draws.at(epoch).uniform(task.x.new_empty(len(task.x), 1))[:, 0].argsort(stable=True)
            for rows in order.split(self.together):
                move = (
                    self.step_size
                    * task.threat.eps
                    * task.threat.steepest(self.mean_gradient(task, oracle, delta, rows))
                )
                delta = brought_inside(delta + move, task.threat)
            yield delta

    def mean_gradient(self, task: Task, oracle: Oracle, delta: Tensor, rows: Tensor) -> Tensor:
        """(1, C, H, W): of the mean clipped loss of these pictures, with respect to the change."""
        wished = task.x[rows] + delta
        part = Part(added(task.x[rows], delta, task.threat), rows, take(task.goal, rows), (self.clipped(),))
        ((_, _, (gradient,)),) = oracle.gradients([part])
        free = (wished >= task.threat.low) & (wished <= task.threat.high)
        return torch.where(free, gradient.nan_to_num(0.0, 0.0, 0.0), 0.0).mean(0, keepdim=True)

    def clipped(self) -> Objective:
        """The loss, cut at `clip`."""
        return partial(cut, OBJECTIVES[self.loss], self.clip)


def cut(objective: Objective, most: float, logits: Tensor, goal: Any) -> Tensor:
    """(N,): an objective that stops rising at `most`."""
    return objective(logits, goal).clamp_max(most)

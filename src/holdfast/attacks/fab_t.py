"""Fast Adaptive Boundary towards several classes in turn."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query, Scores
from holdfast.attacks.apgd_t import likeliest
from holdfast.attacks.case import Case
from holdfast.attacks.fab import departed, drawn_back
from holdfast.attacks.options import at_least
from holdfast.losses import Goal
from holdfast.losses.objectives import logit_difference


@dataclass(frozen=True, kw_only=True)
class FABT:
    """`FAB` once towards each of the classes that the model holds likeliest for the unchanged picture.

    Each lane follows the boundary between the label and its one class, which needs one gradient a step instead of one
    a class. A lane wins by any wrong class.
    Cost: for each step and target two forward passes and one backward pass.
    Source: Croce & Hein 2020, arXiv:2003.01690, sec. 5 (targeted FAB, nine targets; five in L1, arXiv:2103.01208).
    """

    steps: int = field(default=100, metadata={"help": "steps to the boundary a target and restart"})
    targets_tried: int = field(default=9, metadata={"help": "the most classes each picture is driven towards"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "fab-t"
    minimal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "targets_tried", "restarts")

    @property
    def rounds(self) -> int:
        """A question a step and a look at where it leads."""
        return 2 * self.steps

    def targets(self, logits: Tensor, goal: Goal) -> Tensor:
        """(N, T) the likeliest wrong classes of each unchanged picture, or the wanted one."""
        return likeliest(logits, goal, self.targets_tried)

    def start(self, case: Case) -> tuple[Tensor, Query]:
        """Begin at the picture."""
        return torch.zeros_like(case.round), self.question(case, case.x)

    def step(self, case: Case, taken: Tensor, answer: Scores) -> tuple[Tensor, Query]:
        """One step onto the boundary; or, after a look at where it led, back a little from a success.

        `taken` (L,) int64: steps so far.
        """
        if isinstance(answer, Gradient):
            x_adv = departed(case, taken, answer.points, answer.loss, answer.gradient)
            return taken + 1, Query(x_adv, over=taken + 1 >= self.steps)
        return taken, self.question(case, drawn_back(case, taken, answer))

    def question(self, case: Case, x_adv: Tensor) -> Query:
        """How far the target leads the label, and its gradient."""
        towards = Goal(case.goal.y, case.target)
        return Query(x_adv, gradient_of=logit_difference, towards=towards)

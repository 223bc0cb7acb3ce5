"""A question to the model, as an attack states it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.errors import OptionError

Objective = Callable[[Tensor, Any], Tensor]
"""(logits (P, K), goal of each point) -> (P,), growing as the goal comes nearer."""

View = Callable[[Tensor], Tensor]
"""Points (P, C, H, W) to what the model is shown of them, differentiable; a tree of tensors with a row a point."""


@dataclass(frozen=True)
class Query:
    """One round of questions of some lanes.

    `points` is (P, C, H, W). With `lane` None, P is the number of lanes and point i belongs to lane i; else `lane`
    (P,) int64 names the lane of each point, in any number and order, so that a lane may ask several at once, or none.
    Answers keep the order of the points.
    `gradient_of`: the objectives to differentiate, one gradient each; empty asks for no gradient.
    `towards`: the goal the objectives are taken for, one row a point; None takes the lane's own. It steers the
    gradient only: whether a point counts is always judged by the lane's own goal.
    `classes`: (P, M) int64, asks for the gradients of these logits; with `against` (P,) int64, of what each is above
    that class's.
    `over`: (lanes,) bool, lanes for which this is the last question. `done`: (lanes,) bool, lanes that ask nothing any
    more, whose points are not asked about.
    """

    points: Tensor
    gradient_of: tuple[Objective, ...] | Objective = ()
    towards: Any = None
    classes: Tensor | None = None
    against: Tensor | None = None
    lane: Tensor | None = None
    over: Tensor | None = None
    done: Tensor | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and self.objectives:
            raise OptionError(
                "Query: gradient_of and classes are both given; allowed: one of them. Ask in two rounds, or take the "
                "gradient of the loss from the jacobian."
            )

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """`gradient_of` as a tuple."""
        return self.gradient_of if isinstance(self.gradient_of, tuple) else (self.gradient_of,)


def number_lanes(lane: Sequence[Tensor], lanes: Sequence[int]) -> Tensor:
    """Lane numbers of several queries, counted on from one to the next."""
    offsets = [sum(lanes[:i]) for i in range(len(lanes))]
    return torch.cat([part + offset for part, offset in zip(lane, offsets, strict=True)])

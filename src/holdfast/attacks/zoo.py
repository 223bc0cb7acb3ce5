"""ZOO: Carlini & Wagner's objective in L2, descended coordinate by coordinate by differences of scores."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.by_scores import heights
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, at_least_a_step, positive
from holdfast.attacks.penalty import BETA, BETA_SQUARE, TINY, Weight
from holdfast.losses.objectives import margin


@dataclass(frozen=True, kw_only=True)
class ZOO:
    """Minimise |delta|^2 + c max(kappa - margin, 0) by Adam on a few coordinates at a time, with a bisection of c.

    A step asks about the point and, for each of some random values, one a little higher and one a little lower; only
    those values move, each with an Adam of its own. The schedule of c is that of `CW`, a search goes on from where the
    last one ended, and within it steps shrink, as there.
    Cost: 2 `coordinates` + 1 forward passes a step, `queries` in all or a step less; no gradient.
    Source: Chen, Zhang, Sharma, Yi & Hsieh 2017, arXiv:1708.03999, algorithms 1 and 2 (ZOO-ADAM). Ours: values are cut
    to the box in place of the paper's tanh, near whose ends a difference says little. Its attack on a coarser grid,
    meant for large pictures, is left out.
    """

    queries: int = field(default=20_000, metadata={"help": "points asked about each picture"})
    coordinates: int = field(default=32, metadata={"help": "values moved a step"})
    searches: int = field(default=4, metadata={"help": "weights tried a picture"})
    first_c: float = field(default=1.0, metadata={"help": "the first weight of the goal"})
    step_size: float = field(
        default=0.1, metadata={"help": "of a value's first step in a search, in widths of the box"}
    )
    spread: float = field(default=1e-3, metadata={"help": "how much higher and lower, in widths of the box"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "zoo"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2",)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "coordinates", "searches")
        positive(self, "first_c", "step_size", "spread")
        at_least_a_step(self)

    @property
    def breadth(self) -> int:
        """How many a lane asks about at once."""
        return 2 * self.coordinates + 1

    @property
    def rounds(self) -> int:
        """As many whole steps as the questions allow."""
        return self.queries // self.breadth

    def start(self, case: Case) -> "tuple[Descent, Query]":
        """Begin at the picture."""
        zero = torch.zeros_like(case.x.flatten(1))
        none = zero[:, 0] > 0
        at = Descent(zero, zero.clone(), zero.clone(), Weight.first(case.x, self.first_c), none, self.chosen(case))
        return at, self.question(case, case.x, at.chosen)

    def step(self, case: Case, at: "Descent", answer: Scores) -> "tuple[Descent, Query]":
        """One of Adam's steps in each of the values; with the next weight where it is time for it."""
        lanes, count = at.chosen.shape
        points = answer.points.view(lanes, 1 + 2 * count, -1)
        loss = heights(case, answer, margin).view(lanes, -1).to(points)
        x_adv, there = points[:, 0], answer.reached.view(lanes, -1)[:, 0]
        higher, lower = points[:, 1::2], points[:, 2::2]
        apart = (higher - lower).gather(2, at.chosen[..., None])[..., 0]
        slope = usable((loss[:, 1::2] - loss[:, 2::2]) / apart.clamp_min(torch.finfo(apart.dtype).tiny))
        pull = (at.weight.value * ~there)[:, None]
        downhill = 2 * (x_adv - case.x.flatten(1)).gather(1, at.chosen) - pull * slope
        steps = max(1, self.rounds // self.searches)
        left = 1 - ((case.round - 1) % steps).to(downhill) / steps
        moments, move = self.adam(at, downhill, self.step_size * left[:, None])
        x_adv = x_adv.scatter(1, at.chosen, x_adv.gather(1, at.chosen) - move)
        x_adv = x_adv.clamp_(case.threat.low, case.threat.high).view_as(case.x)
        won = at.won | there
        due = case.round % steps == 0
        chosen = self.chosen(case)
        on = Descent(*moments, at.weight.next(won, due), won & ~due, chosen)
        return on, self.question(case, x_adv, chosen)

    def adam(self, at: "Descent", downhill: Tensor, length: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """The moments of all values after that of the chosen ones, and these ones' moves."""
        mean, square, count = (part.gather(1, at.chosen) for part in (at.mean, at.square, at.count))
        count = count + 1
        mean = mean.lerp(downhill, 1 - BETA)
        square = square.lerp(downhill.square(), 1 - BETA_SQUARE)
        move = mean / (1 - BETA**count) / ((square / (1 - BETA_SQUARE**count)).sqrt() + TINY)
        kept = (
            at.mean.scatter(1, at.chosen, mean),
            at.square.scatter(1, at.chosen, square),
            at.count.scatter(1, at.chosen, count),
        )
        return kept, length * move

    def chosen(self, case: Case) -> Tensor:
        """(L, coordinates) int64: values at random, each at most once."""
        key = case.draws.uniform(case.x).flatten(1)
        order: Tensor = key.argsort(dim=1, descending=True, stable=True)
        return order[:, : self.coordinates]

    def question(self, case: Case, x_adv: Tensor, chosen: Tensor) -> Query:
        """The point, and one higher and one lower in each of the chosen values."""
        lanes, count = chosen.shape
        points = x_adv.flatten(1)[:, None].repeat(1, 1 + 2 * count, 1)
        width = case.threat.high - case.threat.low
        for first, change in ((1, self.spread * width), (2, -self.spread * width)):
            there = points[:, first::2].gather(2, chosen[..., None])
            points[:, first::2] = points[:, first::2].scatter(
                2, chosen[..., None], (there + change).clamp_(case.threat.low, case.threat.high)
            )
        lane = torch.arange(lanes, device=chosen.device).repeat_interleave(1 + 2 * count)
        return Query(points.view(-1, *x_adv.shape[1:]), lane=lane)


@dataclass(frozen=True)
class Descent:
    """Where a lane is, beside its point."""

    mean: Tensor  # (L, d) Adam's moments of each value
    square: Tensor  # (L, d)
    count: Tensor  # (L, d) how often it was moved
    weight: Weight
    won: Tensor  # (L,) bool, whether the goal was reached with this weight
    chosen: Tensor  # (L, coordinates) int64, the values asked about

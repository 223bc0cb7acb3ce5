"""JSMA: two values a step to the side of the box, those that help the target most and the other classes least."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.apgd_t import likeliest
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least
from holdfast.lanes import choose
from holdfast.losses import Goal
from holdfast.options import one_of

FOREMOST = 48  # values by each of three orders, among which the pair is looked for


@dataclass(frozen=True, kw_only=True)
class JSMA:
    """Two values a step go to the side of the box: the pair with the highest saliency of those not changed yet.

    The saliency of a pair is the product of how its slopes raise the target's logit and lower the sum of the others',
    where they do both; where no pair does, the sum of the two decides (ours; the source ends). `direction` says whether
    values rise or fall; `both` takes the better pair of either.
    Ours: pairs are looked for among the values that are foremost by either slope or their sum, since all pairs are too
    many for larger pictures; and an untargeted search heads for the likeliest wrong classes in turn.
    Cost: for each step and target one forward and two backward passes.
    Source: Papernot, McDaniel, Jha, Fredrikson, Celik & Swami 2016, arXiv:1511.07528, algorithms 2 and 3, with
    theta = 1, on logits.
    """

    steps: int = field(default=100, metadata={"help": "pairs of values changed a target"})
    direction: Literal["up", "down", "both"] = field(default="both", metadata={"help": "where values may go"})
    targets_tried: int = field(default=3, metadata={"help": "the most classes each picture is driven towards"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "jsma"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l0", "pixels")

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "targets_tried")
        one_of(self, "direction")

    @property
    def rounds(self) -> int:
        """`steps` pairs of gradients and a last look."""
        return self.steps + 1

    def targets(self, logits: Tensor, goal: Goal) -> Tensor:
        """(N, T) the likeliest wrong classes of each unchanged picture, or the wanted one."""
        return likeliest(logits, goal, self.targets_tried)

    def start(self, case: Case) -> tuple[None, Query]:
        """Begin at the picture."""
        return None, self.question(case, case.x, torch.zeros_like(case.round, dtype=torch.bool))

    def step(self, case: Case, state: None, answer: Gradient) -> tuple[None, Query]:
        """The next pair, until the goal is reached."""
        target, others = (usable(slope).flatten(1) for slope in answer.gradients)
        x_adv, stuck = self.with_pair(case, answer.points, target, others)
        return None, self.question(case, x_adv, answer.reached | stuck)

    def with_pair(self, case: Case, x_adv: Tensor, target: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """`x_adv` with two more values at a side of the box, and (L,) whether there are none."""
        flat, unchanged = x_adv.flatten(1), (x_adv == case.x).flatten(1)
        sides = {"up": (1,), "down": (-1,), "both": (1, -1)}[self.direction]
        best = torch.full_like(flat[:, 0], -torch.inf, dtype=torch.float64)
        pair = torch.zeros(len(flat), 2, dtype=torch.int64, device=flat.device)
        value = flat[:, 0]
        for side in sides:
            end = case.threat.high if side > 0 else case.threat.low
            free = unchanged & (flat != end)
            worth, found = foremost_pair(side * target, -side * others, free)
            better = worth > best
            best, pair = torch.where(better, worth, best), choose(better, found, pair)
            value = torch.where(better, torch.full_like(value, end), value)
        changed = flat.scatter(1, pair, value[:, None].expand(-1, 2)).view_as(x_adv)
        return choose(best.isfinite(), changed, x_adv), ~best.isfinite()

    def question(self, case: Case, x_adv: Tensor, done: Tensor) -> Query:
        """The slopes of the target's logit and of the sum of the others'."""
        towards = Goal(case.goal.y, case.target)
        return Query(x_adv, gradient_of=(of_target, of_others), towards=towards, done=done)


def of_target(logits: Tensor, goal: Goal) -> Tensor:
    """(P,): the target's logit."""
    assert goal.target is not None
    return logits.gather(1, goal.target[:, None]).squeeze(1)


def of_others(logits: Tensor, goal: Goal) -> Tensor:
    """(P,): the sum of the other logits."""
    return logits.sum(1) - of_target(logits, goal)


def foremost_pair(rise: Tensor, fall: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """(L,) float64 the worth of the best pair of `free` values, -inf where there is none; (L, 2) int64 which they are.

    `rise` and `fall` (L, d): how moving a value raises the target's logit and lowers the others' sum. A pair that does
    both is worth more than any that does not.
    """
    count = min(FOREMOST, rise.shape[1])
    orders = [torch.where(free, key, -torch.inf).topk(count, dim=1).indices for key in (rise, fall, rise + fall)]
    near = torch.cat(orders, 1)
    a, b = (part.gather(1, near).double() for part in (rise, fall))
    a, b = a[:, :, None] + a[:, None], b[:, :, None] + b[:, None]
    # Both positive: the product. Else below 0: what grows with the sum. One scale for a lane, whichever way it looks.
    slopes = torch.cat([rise, fall], 1).double()
    scale = 2 * slopes.abs().amax(1).clamp_min(torch.finfo(slopes.dtype).tiny)[:, None, None]
    a, b = a / scale, b / scale
    worth = torch.where((a > 0) & (b > 0), a * b, (a + b) / 4 - 1)
    fine = free.gather(1, near)
    fine = fine[:, :, None] & fine[:, None] & (near[:, :, None] != near[:, None])
    worth = torch.where(fine, worth, -torch.inf).flatten(1)
    best, place = worth.max(1)
    rows_and_columns = torch.stack([place // near.shape[1], place % near.shape[1]], 1)
    return best, near.gather(1, rows_and_columns)

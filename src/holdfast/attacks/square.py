"""Square: random search with square windows that shrink over time; scores only."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks import square_windows
from holdfast.attacks.by_scores import heights, least_rise, nowhere
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.square_windows import radius, signs
from holdfast.errors import OptionError
from holdfast.lanes import choose, take
from holdfast.losses.objectives import margin
from holdfast.threats import norm_name

FULL = 10_000
# After so many queries (of `FULL`) the share of the picture that a window covers is halved again.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True, kw_only=True)
class Square:
    """Change a random square window of the best picture so far, keep the change if the margin fell.

    Linf: begin with vertical stripes of plus or minus the radius; a change adds plus or minus twice the radius to a
    window, one sign a channel, and is cut back. L2 and L1: begin with a tiling of small bumps; a change moves what one
    window holds into another, with a fresh bump in it, and spends what of the radius is left.
    A picture of H x W is taken as it is; where a window is too high for it, it is as much wider, and the reverse.
    With `ahead` above 1 the next changes are asked about together while none helps, which fills the batch when few
    pictures are left. Those after the first that helps lapse and are drawn anew from the better picture, so that the
    search takes the same course, up to rounding, for more passes in fewer calls of the model.
    Cost: `queries` + 1 forward passes a lane, no gradient; with `ahead` the lapsed ones too.
    Source: Andriushchenko, Croce, Flammarion & Hein 2020, arXiv:1912.00049, algorithms 1 to 3; L1: Croce & Hein 2021,
    arXiv:2103.01208, sec. 4. The schedule is that for 10,000 queries, `rescaled` to as many as there are, as published;
    AutoAttack takes it as it is.
    """

    queries: int = field(default=5000, metadata={"help": "changes tried a picture and restart"})
    first_share: float = field(default=0.8, metadata={"help": "share of the picture that the first windows cover"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    rescaled: bool = field(default=True, metadata={"help": "windows shrink over the queries there are, not 10,000"})
    ahead: int = field(default=1, metadata={"help": "the most changes of one picture asked about side by side"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "square"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")
    masks: ClassVar[tuple[str, ...]] = ("linf",)

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "restarts", "ahead")
        if not 0 < self.first_share <= 1:
            raise OptionError(f"Square: first_share={self.first_share!r}; allowed: above 0, up to 1. For example 0.8.")

    @property
    def rounds(self) -> int:
        """The first picture and one a change."""
        return self.queries + 1

    def start(self, case: Case) -> "tuple[Search, Query]":
        """Begin with the stripes or the bumps."""
        at = Search(first(case), nowhere(case), torch.zeros_like(case.round), torch.ones_like(case.round))
        lane = torch.arange(len(case.round), device=case.round.device)
        return at, Query(at.best, lane=None if self.ahead == 1 else lane)

    def step(self, case: Case, at: "Search", answer: Scores) -> "tuple[Search, Query]":
        """Keep the first change that helps, and try the next ones."""
        at = self.decided(case, at, answer)
        if self.ahead == 1:
            return at, Query(self.changed(case, at.best, at.tried))
        lane = torch.arange(len(at.asked), device=at.asked.device).repeat_interleave(at.asked)
        place = torch.arange(len(lane), device=lane.device) - before(at.asked)[lane]
        points = self.changed(take(case, lane), at.best[lane], at.tried[lane] + place)
        return at, Query(points, lane=lane, over=at.tried + at.asked > self.queries)

    def decided(self, case: Case, at: "Search", answer: Scores) -> "Search":
        """The state after an answer: of the pictures asked about side by side, those after the first success lapse."""
        loss = heights(case, answer, margin)
        least = least_rise(at.loss, answer)
        first_point = before(at.asked)
        helped = at.asked  # how many came before the first that helped; all, where none did
        if answer.lane is None:
            helped = torch.where(loss > least, 0, helped)
        else:
            place = torch.arange(len(loss), device=loss.device) - first_point[answer.lane]
            place = torch.where(loss > least[answer.lane], place, self.ahead)
            helped = helped.scatter_reduce(0, answer.lane, place, "amin")
        better = helped < at.asked
        point = (first_point + helped).clamp_max(len(loss) - 1)
        tried = at.tried + torch.where(better, helped + 1, at.asked)
        # Not fewer than half after a success: that saves a sixth of the rounds for a hundredth more passes.
        ahead = torch.where(better, (at.asked // 2).clamp_min(helped + 1), 2 * at.asked).clamp_max(self.ahead)
        return Search(
            choose(better, answer.points[point], at.best),
            torch.where(better, loss[point], at.loss),
            tried,
            # The last one alone, as its answer is not stepped on: of several, those after the first would be lost.
            torch.minimum(ahead, (self.queries - tried).clamp_min(1)),
        )

    def changed(self, case: Case, best: Tensor, number: Tensor) -> Tensor:
        """`best` with the change of this `number` (L,), from 1."""
        case = replace(case, draws=case.draws.at(number))
        planes = as_planes(best)
        asked = (number - 1) * FULL // self.queries if self.rescaled else number - 1
        share = self.first_share / 2.0 ** halvings(asked)
        if norm_name(case.threat) != "linf":
            return square_windows.change(case, planes, as_planes(case.x), share).view_as(best)
        numbers = case.draws.uniform(best.new_empty(len(best), 2 + planes.shape[1]))
        inside = window(numbers[:, :2], share, *planes.shape[2:])
        change = 2 * radius(case, planes) * signs(numbers[:, 2:])[:, :, None, None]
        return case.project(torch.addcmul(planes, inside[:, None], change).view_as(best))


@dataclass(frozen=True)
class Search:
    """Where a lane is, one row a lane."""

    best: Tensor  # the picture of the highest loss
    loss: Tensor  # (L,) there; -inf before anything was seen
    tried: Tensor  # (L,) int64, pictures decided about: the first one, then the changes
    asked: Tensor  # (L,) int64, how many of the next are asked about


def first(case: Case) -> Tensor:
    """The picture to begin with: stripes in Linf, bumps in L2 and L1."""
    planes = as_planes(case.x)
    if norm_name(case.threat) != "linf":
        return square_windows.first(case, planes).view_as(case.x)
    stripes = signs(case.draws.uniform(planes[:, :, :1]))  # one sign a column
    return case.project((planes + radius(case, planes) * stripes).view_as(case.x))


def before(count: Tensor) -> Tensor:
    """(L,) int64: the sum of the counts of the lanes before each."""
    return count.cumsum(0) - count


def as_planes(x: Tensor) -> Tensor:
    """Pictures of any shape as (L, C, H, W): without channels or rows they have one, further axes join the rows."""
    if x.ndim < 4:
        return x.view(len(x), -1 if x.ndim == 3 else 1, 1, x.shape[-1])
    return x.reshape(len(x), x.shape[1], -1, x.shape[-1])


def halvings(tried: Tensor) -> Tensor:
    """(L,) int64: how often the share has been halved after so many changes."""
    return torch.bucketize(tried, torch.tensor(HALVINGS, device=tried.device))


def window(numbers: Tensor, share: Tensor, height: int, width: int) -> Tensor:
    """(L, H, W): 1 in a square that covers `share` (L,) of the picture, a pixel at least, else 0.

    `numbers` (L, 2), uniform, choose its place.
    """
    area = share * height * width
    side = area.sqrt().round().clamp_min(1)
    rows = torch.where(side > width, (area / width).round(), side).clamp(1, height)
    columns = torch.where(side > height, (area / height).round(), side).clamp(1, width)
    vertical = within(numbers[:, 0], rows, height)
    horizontal = within(numbers[:, 1], columns, width)
    return vertical[:, :, None] * horizontal[:, None, :]


def within(number: Tensor, length: Tensor, room: int) -> Tensor:
    """(L, room): 1 on a stretch of `length` (L,) at the place that a uniform number (L,) chooses, else 0."""
    start = (number * (room - length + 1)).floor()[:, None]
    place = torch.arange(room, device=number.device)
    return ((place >= start) & (place < start + length[:, None])).to(number)

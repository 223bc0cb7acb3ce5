"""Four attacks in short, each hard for an attack interface in its own way; the library has its own elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Labels, Query
from holdfast.attacks import Case
from holdfast.draws import Draws
from holdfast.lanes import choose, column, take
from holdfast.losses import Goal
from holdfast.losses.objectives import dlr, logit_difference, margin


def top_others(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """(N, count): the likeliest classes other than `y`."""
    return logits.scatter(1, y[:, None], -torch.inf).topk(min(count, logits.shape[1] - 1)).indices


@dataclass(frozen=True)
class Climb:
    """Where a lane of Carlini-Wagner is; every tensor one row a lane."""

    w: Tensor  # the picture through atanh
    mean: Tensor  # of the gradient, as Adam keeps it
    square: Tensor  # of its square
    t: Tensor  # int64, steps in this inner loop
    before: Tensor  # the loss when progress was last looked at
    won: Tensor  # bool, in this inner loop
    c: Tensor
    low: Tensor  # the largest c that failed
    high: Tensor  # the smallest c that won
    search: Tensor  # int64, inner loops finished


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """Minimise |delta|^2 + c max(kappa - margin, 0) by Adam in tanh space, searching c by bisection for each lane.

    A lane's inner loop ends after `steps`, or when its loss no longer falls; its search then goes on at once, so
    that lanes under way together are in different loops at different steps.
    Source: Carlini & Wagner 2017, arXiv:1608.04644, sec. V and VI.
    """

    steps: int = 60
    searches: int = 6
    step_size: float = 0.02
    kappa: float = 0.0
    first_c: float = 0.3
    access: ClassVar = Access.GRADIENT
    wanders: ClassVar = True  # the loss alone keeps the change small
    name: ClassVar = "cw"

    @property
    def rounds(self) -> int:
        return self.steps * self.searches

    def start(self, case: Case) -> tuple[Climb, Query]:
        one = torch.ones_like(case.x.flatten(1)[:, 0])
        fresh = self.restarted(case, one)
        zeros = torch.zeros_like(fresh.t)
        return fresh, self.question(case, fresh, over=zeros.bool())

    def restarted(self, case: Case, c: Tensor) -> Climb:
        zero, half = torch.zeros_like(case.x), (case.threat.high - case.threat.low) / 2
        w = torch.atanh(((case.x - case.threat.low) / half - 1) * (1 - 1e-6))
        count, nothing = torch.zeros_like(case.round), torch.zeros_like(c)
        return Climb(
            w,
            zero,
            zero,
            count,
            nothing + torch.inf,
            nothing > 0,
            self.first_c * c,
            nothing,
            nothing + torch.inf,
            count,
        )

    def step(self, case: Case, at: Climb, answer: Gradient) -> tuple[Climb, Query]:
        x_adv, slope = self.picture(case, at.w)
        delta, c = x_adv - case.x, column(at.c, case.x)
        short = answer.loss < self.kappa
        gradient = (2 * delta - c * column(short, delta) * answer.gradient) * slope
        loss = delta.flatten(1).square().sum(1) + at.c * (self.kappa - answer.loss).clamp_min(0)
        t = at.t + 1
        mean, square = 0.9 * at.mean + 0.1 * gradient, 0.999 * at.square + 0.001 * gradient.square()
        unbiased = (mean / column(1 - 0.9**t, mean), square / column(1 - 0.999**t, square))
        w = at.w - self.step_size * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
        look = t % max(1, self.steps // 10) == 0
        stuck = look & (loss > 0.9999 * at.before)
        on = Climb(w, mean, square, t, loss.where(look, at.before), at.won | ~short, at.c, at.low, at.high, at.search)
        on = choose(stuck | (t >= self.steps), self.next_search(case, on), on)
        return on, self.question(case, on, over=on.search >= self.searches)

    def next_search(self, case: Case, at: Climb) -> Climb:
        """Another c: halfway between failure and success, ten times as much before the first success."""
        low, high = at.c.where(~at.won, at.low), at.c.where(at.won, at.high)
        fresh = self.restarted(case, ((low + high) / 2).where(high.isfinite(), 10 * at.c) / self.first_c)
        return Climb(*list(vars(fresh).values())[:7], low=low, high=high, search=at.search + 1)

    def picture(self, case: Case, w: Tensor) -> tuple[Tensor, Tensor]:
        """The picture that `w` stands for, and its derivative."""
        half = (case.threat.high - case.threat.low) / 2
        return case.threat.low + half * (1 + w.tanh()), half * (1 - w.tanh().square())

    def question(self, case: Case, at: Climb, over: Tensor) -> Query:
        return Query(self.picture(case, at.w)[0], gradient_of=margin, over=over)


INIT, SEARCH, GRADIENT, MOVE = range(4)


@dataclass(frozen=True)
class Edge:
    """Where a lane of HopSkipJump is."""

    phase: Tensor  # int64
    x_adv: Tensor  # the goal is reached here, from SEARCH on
    low: Tensor  # blends of x and x_adv up to here fail
    high: Tensor  # and from here on reach the goal
    tried: Tensor  # int64, questions in this phase
    direction: Tensor  # of the boundary, from MOVE on
    length: Tensor  # of the move
    iteration: Tensor  # int64, from 1


@dataclass(frozen=True, kw_only=True)
class HopSkipJump:
    """Walk along the boundary by labels alone: bisect to it, estimate its direction from random points, move, repeat.

    A lane asks `tries` points in INIT, more and more in GRADIENT, and one in SEARCH and MOVE.
    Source: Chen, Jordan & Wainwright 2020, arXiv:1904.02144, algorithm 2 for the 2-norm.
    """

    iterations: int = 8
    points: int = 20  # in the first estimate of the direction; times sqrt(iteration) later
    tries: int = 6  # random blends in each question of INIT
    halvings: int = 8
    access: ClassVar = Access.LABELS
    wanders: ClassVar = True
    name: ClassVar = "hsj"

    @property
    def rounds(self) -> int:
        return self.halvings * 2 + self.iterations * (1 + 2 * self.halvings) + 1

    def start(self, case: Case) -> tuple[Edge, Query]:
        zero, none = torch.zeros_like(case.x.flatten(1)[:, 0]), torch.zeros_like(case.round)
        at = Edge(none, case.x, zero, zero + 1, none, torch.zeros_like(case.x), zero, none)
        return at, self.question(case, at)

    def step(self, case: Case, at: Edge, answer: Labels) -> tuple[Edge, Query]:
        asked = self.asked(at)
        # Row by row, as the points were asked: which of its slots each lane won.
        won = torch.zeros_like(asked).masked_scatter(asked, answer.reached)
        grid, first = self.grid(case, at, asked.shape[1], case.draws.at(case.round - 1)), won.int().argmax(1)
        point, any_won = grid[torch.arange(len(first)), first], won.any(1)
        tried, zero = at.tried + 1, torch.zeros_like(at.low)
        anew = {"tried": torch.zeros_like(tried), "low": zero, "high": zero + 1}
        same = {**vars(at), "tried": tried}
        search = Edge(**{**same, **anew, "phase": at.phase * 0 + SEARCH, "x_adv": point})
        found = choose(any_won, search, Edge(**same))
        middle = (at.low + at.high) / 2
        halved = {**same, "low": at.low.where(any_won, middle), "high": middle.where(any_won, at.high)}
        landed = self.blend(case, at.x_adv, halved["high"])
        there = Edge(
            **{**halved, **anew, "phase": at.phase * 0 + GRADIENT, "x_adv": landed, "iteration": at.iteration + 1}
        )
        bisected = choose(tried >= self.halvings, there, Edge(**halved))
        away = (landed - case.x).flatten(1).norm(dim=1)
        aim = self.estimated(case, at, grid, asked, won)
        length = (at.x_adv - case.x).flatten(1).norm(dim=1) / at.iteration.clamp_min(1).to(away).sqrt()
        ready = Edge(**{**same, "phase": at.phase * 0 + MOVE, "direction": aim, "length": length, "tried": tried * 0})
        # A move that finds nothing, however short, leaves the lane where it is, for another estimate.
        back = Edge(**{**same, **anew, "phase": at.phase * 0 + GRADIENT, "iteration": at.iteration + 1})
        shorter = choose(tried >= self.halvings, back, Edge(**{**same, "length": at.length / 2}))
        moved = choose(any_won, search, shorter)
        after = choose(
            at.phase == INIT, found, choose(at.phase == SEARCH, bisected, choose(at.phase == GRADIENT, ready, moved))
        )
        return after, self.question(case, after)

    def asked(self, at: Edge) -> Tensor:
        """(L, S) bool: which slots of the grid each lane asks about."""
        many = (self.points * at.iteration.sqrt()).long()
        count = torch.ones_like(at.phase).where((at.phase == SEARCH) | (at.phase == MOVE), many)
        count = count.where(at.phase != INIT, self.tries)
        return torch.arange(int(count.max()), device=count.device) < count[:, None]

    def grid(self, case: Case, at: Edge, slots: int, draws: Draws) -> Tensor:
        """(L, S, C, H, W): the points of each lane; only those `asked` mean something."""
        points = case.x[:, None].repeat(1, slots, *[1] * (case.x.ndim - 1))
        places = (self.blends, self.halfway, self.around, self.moved)
        for phase, place in enumerate(places):
            rows = (at.phase == phase).nonzero()[:, 0]
            if len(rows):
                mine = take((case, at, draws, points), rows)
                points[rows] = place(*mine).clamp(case.threat.low, case.threat.high)
        return points

    def blends(self, case: Case, at: Edge, draws: Draws, like: Tensor) -> Tensor:
        """On the way from the picture to random ones, further and further."""
        far = case.threat.low + (case.threat.high - case.threat.low) * draws.uniform(like)
        share = torch.arange(1, like.shape[1] + 1, device=like.device).to(like) / self.tries
        return like + column(share, like[0]) * (far - like)

    def halfway(self, case: Case, at: Edge, draws: Draws, like: Tensor) -> Tensor:
        return self.blend(case, at.x_adv, (at.low + at.high) / 2)[:, None].expand_as(like)

    def around(self, case: Case, at: Edge, draws: Draws, like: Tensor) -> Tensor:
        """At a small distance from the point on the boundary, in random directions."""
        way = draws.normal(like)
        way = way / way.flatten(2).norm(dim=2).view(*like.shape[:2], *[1] * (like.ndim - 2))
        reach = (at.x_adv - case.x).flatten(1).norm(dim=1) / case.x[0].numel() ** 0.5
        return at.x_adv[:, None] + column(reach, like) * way

    def moved(self, case: Case, at: Edge, draws: Draws, like: Tensor) -> Tensor:
        return (at.x_adv + column(at.length, case.x) * at.direction)[:, None].expand_as(like)

    def estimated(self, case: Case, at: Edge, grid: Tensor, asked: Tensor, won: Tensor) -> Tensor:
        """The mean of the directions tried, those that won for and those that lost against it; of length 1."""
        count = asked.sum(1, keepdim=True)
        sign = torch.where(won, 1.0, -1.0).to(grid) * asked
        mean = sign.sum(1, keepdim=True) / count
        sign = torch.where(mean.abs() < 1, (sign - mean) * asked, sign)
        total = ((grid - at.x_adv[:, None]) * sign.view(*sign.shape, *[1] * (grid.ndim - 2))).sum(1)
        return total / column(total.flatten(1).norm(dim=1).clamp_min(1e-12), total)

    def blend(self, case: Case, x_adv: Tensor, share: Tensor) -> Tensor:
        return case.x + column(share, x_adv) * (x_adv - case.x)

    def question(self, case: Case, at: Edge) -> Query:
        asked = self.asked(at)
        points = self.grid(case, at, asked.shape[1], case.draws)[asked]
        lost = (at.phase == INIT) & (at.tried >= self.halvings)
        return Query(points, lane=asked.nonzero()[:, 0], over=lost | (at.iteration > self.iterations))


@dataclass(frozen=True, kw_only=True)
class FAB:
    """Step to the linearised boundary with the lane's target, drawn to the picture; once across, part of the way back.

    `steepest` gives the direction of the nearest move for the 2-norm and the largest-value norm alike, as clipping
    x + s * direction to the box stays optimal there; for L1 it does not.
    Source: Croce & Hein 2020, arXiv:1907.02044, sec. 3, with the targets of its sec. 3.4.
    """

    steps: int = 20
    heads: int = 2
    pull: float = 0.1  # most of the step that starts from the picture itself
    overshoot: float = 1.05
    back: float = 0.9
    access: ClassVar = Access.GRADIENT
    wanders: ClassVar = True
    name: ClassVar = "fab-t"

    @property
    def rounds(self) -> int:
        return self.steps + 1

    def targets(self, logits: Tensor, goal: Goal) -> Tensor:
        return top_others(logits, goal.y, self.heads) if goal.target is None else goal.target[:, None]

    def start(self, case: Case) -> tuple[tuple[Tensor, Tensor], Query]:
        return self.asking(case, case.x, torch.zeros_like(case.target, dtype=torch.bool))

    def step(self, case: Case, state: tuple[Tensor, Tensor], answer: Gradient) -> tuple[tuple[Tensor, Tensor], Query]:
        x_adv, came_back = state
        returns = answer.reached & ~came_back
        near = self.to_plane(case, x_adv, x_adv, answer)
        home = self.to_plane(case, case.x, x_adv, answer)
        sizes = case.threat.size(near), case.threat.size(home)
        share = column((sizes[0] / (sizes[0] + sizes[1]).clamp_min(1e-12)).clamp_max(self.pull), x_adv)
        on = (1 - share) * (x_adv + self.overshoot * near) + share * (case.x + self.overshoot * home)
        half_way = case.x + self.back * (x_adv - case.x)
        return self.asking(case, torch.where(column(returns, x_adv), half_way, on), returns)

    def asking(self, case: Case, x_adv: Tensor, came_back: Tensor) -> tuple[tuple[Tensor, Tensor], Query]:
        x_adv = x_adv.clamp(case.threat.low, case.threat.high)
        return (x_adv, came_back), Query(x_adv, logit_difference, towards=Goal(case.goal.y, case.target))

    def to_plane(self, case: Case, start: Tensor, x_adv: Tensor, answer: Gradient) -> Tensor:
        """The move from `start` that makes the logits equal, as far as the gradient at `x_adv` tells.

        Its gain is concave and piecewise linear in its length, so Newton's method comes from below and stays there.
        """
        slope = answer.gradient
        gap = -answer.loss - ((start - x_adv) * slope).flatten(1).sum(1)
        way = case.steepest(slope, start) * column(gap.sign(), slope)
        length = torch.zeros_like(gap)
        for _ in range(8):
            moved = (start + column(length, slope) * way).clamp(case.threat.low, case.threat.high)
            free = ((way > 0) & (moved < case.threat.high)) | ((way < 0) & (moved > case.threat.low))
            left = gap.abs() - ((moved - start) * slope).flatten(1).sum(1) * gap.sign()
            rate = (way * slope * free).flatten(1).sum(1) * gap.sign()
            length = length + left.clamp_min(0) / rate.clamp_min(1e-12) * (rate > 0)
        return (start + column(length, slope) * way).clamp(case.threat.low, case.threat.high) - start


@dataclass(frozen=True)
class Run:
    """Where a lane of APGD is."""

    x_adv: Tensor
    last: Tensor  # the point before
    best: Tensor
    loss: Tensor  # at the best
    gradient: Tensor  # at the best
    before: Tensor  # loss of the last question
    share: Tensor  # of eps, the step's length
    rises: Tensor  # int64, since the checkpoint
    loss_then: Tensor  # the best at the checkpoint
    halved: Tensor  # bool, at the checkpoint


@dataclass(frozen=True, kw_only=True)
class APGDT:
    """PGD with momentum towards a target a lane, whose step is halved where progress stalls.

    Source: Croce & Hein 2020, arXiv:2003.01690, algorithm 1 with the targeted loss of sec. 4.
    """

    steps: int = 20
    heads: int = 2
    restarts: int = 1
    access: ClassVar = Access.GRADIENT
    name: ClassVar = "apgd-t"

    @property
    def rounds(self) -> int:
        return self.steps + 1

    def targets(self, logits: Tensor, goal: Goal) -> Tensor:
        return top_others(logits, goal.y, self.heads) if goal.target is None else goal.target[:, None]

    def checkpoints(self) -> dict[int, int]:
        """The rounds at which progress is judged, each with the length of its period."""
        places, gap = [0.0], 0.22
        while places[-1] + gap < 1:
            places.append(places[-1] + gap)
            gap = max(gap - 0.03, 0.06)
        whole = [-int(-p * self.steps // 1) for p in places]
        return {b: b - a for a, b in zip(whole, whole[1:])}

    def start(self, case: Case) -> tuple[Run, Query]:
        x_adv = case.sample()
        lowest = torch.full_like(x_adv.flatten(1)[:, 0], -torch.inf)
        zero = torch.zeros_like(x_adv)
        no = torch.zeros_like(case.target)
        at = Run(x_adv, x_adv, x_adv, lowest, zero, lowest, torch.full_like(lowest, 2.0), no, lowest, no.bool())
        return at, self.question(case, x_adv)

    def step(self, case: Case, at: Run, answer: Gradient) -> tuple[Run, Query]:
        better = answer.loss > at.loss
        best, gradient = choose(better, (at.x_adv, answer.gradient), (at.best, at.gradient))
        loss = answer.loss.where(better, at.loss)
        rises = at.rises + (answer.loss > at.before)
        length = torch.zeros_like(case.round)
        for place, period in self.checkpoints().items():
            length = length.masked_fill(case.round == place, period)
        due = length > 0
        stall = due & ((rises < 0.75 * length) | (~at.halved & (at.loss_then == loss)))
        share = (at.share / 2).where(stall, at.share)
        here, uphill = choose(stall, (best, gradient), (at.x_adv, answer.gradient))
        reach = column(share * case.threat.eps, here).to(here)
        climbed = case.project(here + reach * case.steepest(uphill, here))
        # The first step has no step before it to keep part of.
        keep = column(torch.where(case.round > 1, 0.25, 0.0), here).to(here)
        x_adv = case.project(here + (1 - keep) * (climbed - here) + keep * (here - at.last))
        on = Run(
            x_adv, here, best, loss, gradient, answer.loss, share,
            rises * ~due, loss.where(due, at.loss_then), stall.where(due, at.halved),
        )  # fmt: skip
        return on, self.question(case, x_adv)

    def question(self, case: Case, x_adv: Tensor) -> Query:
        return Query(x_adv, gradient_of=dlr, towards=Goal(case.goal.y, case.target))

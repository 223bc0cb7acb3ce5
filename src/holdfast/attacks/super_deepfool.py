"""SuperDeepFool: DeepFool in turn with a projection that makes the change square to the boundary."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Jacobian, Query, Scores
from holdfast.attacks.case import Case
from holdfast.attacks.deepfool import candidates, past_nearest
from holdfast.attacks.fab import leads
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, not_negative
from holdfast.lanes import choose, column
from holdfast.losses.objectives import margin

STEP, LOOK, PROJECT, JUDGE, SEARCH = range(5)  # what a lane has asked for, in the order of a round
MOST = 50  # DeepFool steps in a row, where their number is not given


@dataclass(frozen=True)
class Way:
    """Where each lane is."""

    phase: Tensor  # (L,) int64
    classes: Tensor  # (L, M) int64, the candidates
    moves: Tensor  # (L,) int64, DeepFool steps, then projections, of this round; looks of the search
    turns: Tensor  # (L,) int64, rounds done
    base: Tensor  # like x, where the round began
    end: Tensor  # like x, the success that the search goes back from: the last projection, else the smallest one
    size: Tensor  # (L,) size of the smallest success, infinite before there is one
    low: Tensor  # (L,) up to this share of the way to `end` the goal is missed
    high: Tensor  # (L,) and from here on reached


@dataclass(frozen=True, kw_only=True)
class SuperDeepFool:
    """DeepFool steps to a boundary, then the point of that boundary's plane nearest to the picture; again from there.

    The paper's SDF(m, n): `deepfool_steps` is its m, none standing for "until the goal is reached" (at most 50), and
    `projections` its n. A round ends the search when its projection reaches the goal; then the way from the picture to
    it, or to the smallest success, is halved `search_steps` times. The projection is the smallest move within the box,
    from the picture onto the plane through the point; without the box the paper's (x' - x)^T w / |w|^2 w. As in
    published code, and not in the paper's algorithm, the moves of the rounds are added up, so that the second one
    crosses the boundary along the mean of two normals. Ours: of several boundaries at a point, that of the class which
    leads the others is projected on; a lane that DeepFool does not get across ends.
    Cost: DeepFool's, then for each projection two forward passes and a backward pass; a forward pass for each halving.
    Source: Abdollahpoorrostami et al., arXiv:2303.12481, algorithms 1 and 2; the halving as in their code. The form for
    the largest-value norm is that of their appendix, without the box.
    """

    steps: int = field(default=10, metadata={"help": "the most rounds of DeepFool and projection a picture"})
    deepfool_steps: int | None = field(
        default=None, metadata={"help": "DeepFool steps in a round (the paper's m); none: until the goal is reached"}
    )
    projections: int = field(default=1, metadata={"help": "projections in a round (the paper's n)"})
    candidates: int | None = field(
        default=9, metadata={"help": "how many of the likeliest wrong classes of the picture are considered; none: all"}
    )
    overshoot: float = field(default=0.02, metadata={"help": "how far past the boundary a DeepFool step goes"})
    search_steps: int = field(default=10, metadata={"help": "how often the way to the success is halved at the end"})
    access: ClassVar[Access] = Access.JACOBIAN
    name: ClassVar[str] = "superdeepfool"
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "projections")
        at_least(self, 0, "search_steps")
        for name in ("deepfool_steps", "candidates"):
            if getattr(self, name) is not None:
                at_least(self, 1, name)
        not_negative(self, "overshoot")

    @property
    def rounds(self) -> int:
        """Two questions a DeepFool step, one a projection, one for the judgement, and the looks of the search."""
        return self.steps * (2 * self.most + self.projections + 1) + self.search_steps

    @property
    def most(self) -> int:
        """DeepFool steps in a round."""
        return self.deepfool_steps or MOST

    def start(self, case: Case) -> tuple[Way, Query]:
        """Begin with a DeepFool step at the picture."""
        classes, none = candidates(case, self.candidates), torch.zeros_like(case.round)
        zero = torch.zeros_like(case.x.flatten(1)[:, 0])
        way = Way(none + STEP, classes, none, none, case.x, case.x, zero + torch.inf, zero, zero + 1)
        return way, replace(leads(case, case.x, classes), done=torch.zeros_like(none, dtype=torch.bool))

    def step(self, case: Case, way: Way, answer: Scores) -> tuple[Way, Sequence[tuple[Tensor, Query]]]:
        """What each lane does next depends on its phase."""
        way = with_success(case, way, answer)
        if isinstance(answer, Jacobian | Gradient):
            return self.asked(case, *self.moved(case, way, answer))
        return self.asked(case, *self.judged(case, way, answer))

    def moved(self, case: Case, way: Way, answer: Jacobian | Gradient) -> tuple[Way, Tensor]:
        """A DeepFool step, or a projection."""
        project = way.phase == PROJECT
        moves, x_adv = way.moves + 1, answer.points
        if isinstance(answer, Gradient) and case.goal.target is None:
            x_adv = projected(case, way, answer)  # only projections ask for one gradient
        elif isinstance(answer, Gradient):
            ahead = past_nearest(case, answer, way.classes, self.overshoot)
            x_adv = choose(project, projected(case, way, answer), ahead)
        else:
            x_adv = past_nearest(case, answer, way.classes, self.overshoot)
        after = torch.where(moves < self.projections, PROJECT, JUDGE)
        return replace(way, phase=torch.where(project, after, LOOK), moves=moves), x_adv

    def judged(self, case: Case, way: Way, answer: Scores) -> tuple[Way, Tensor]:
        """After a look: another DeepFool step, the projection, the next round, or the search."""
        look, judge, search = (way.phase == phase for phase in (LOOK, JUDGE, SEARCH))
        arrived = look & (answer.reached | (way.moves >= self.most))
        turns = way.turns + judge
        lost = arrived & ~answer.reached if self.deepfool_steps is None else torch.zeros_like(look)
        ends = search | lost | (judge & (answer.reached | (turns >= self.steps)))
        phase = torch.where(ends, SEARCH, torch.where(arrived, PROJECT, STEP))
        middle = (way.low + way.high) / 2
        low, high = way.low, way.high
        low, high = (
            torch.where(search & ~answer.reached, middle, low),
            torch.where(search & answer.reached, middle, high),
        )
        moves = torch.where(search | (look & ~arrived), way.moves + search, 0)
        base, end = choose(judge, answer.points, way.base), choose(judge & answer.reached, answer.points, way.end)
        on = replace(way, phase=phase, moves=moves, turns=turns, base=base, end=end, low=low, high=high)
        blend = torch.lerp(case.x, end, column((low + high) / 2, case.x))
        return on, choose(ends, blend, answer.points)

    def asked(self, case: Case, way: Way, x_adv: Tensor) -> tuple[Way, Sequence[tuple[Tensor, Query]]]:
        """The question of each lane: a Jacobian, a gradient, or a look."""
        search = way.phase == SEARCH
        done = search & ((way.moves >= self.search_steps) | way.size.isinf())
        over = search & (way.moves == self.search_steps - 1)
        steps, projects = way.phase == STEP, way.phase == PROJECT
        return way, [
            (steps, replace(leads(case, x_adv, way.classes), done=done)),
            (projects, Query(x_adv, gradient_of=margin, done=done)),
            (~(steps | projects), Query(x_adv, done=done, over=over)),
        ]


def with_success(case: Case, way: Way, answer: Scores) -> Way:
    """The points asked about in place of `end` where they are smaller successes, until the search begins."""
    size = case.threat.size(answer.points - case.x)
    smaller = answer.reached & (size < way.size) & (way.phase != SEARCH)
    end, size = choose(smaller, (answer.points, size), (way.end, way.size))
    return replace(way, end=end, size=size)


def projected(case: Case, way: Way, answer: Gradient) -> Tensor:
    """Where the round began, moved as the picture has to be to get onto the plane through the points asked about."""
    normal = usable(answer.gradient)
    gain = (normal * (answer.points - case.x)).flatten(1).sum(1)
    return case.threat.reach(case.x, normal, gain).add_(way.base).clamp_(case.threat.low, case.threat.high)

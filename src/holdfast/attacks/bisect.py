"""The smallest radius at which an attack of fixed radius succeeds, by halving intervals, picture by picture."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.apgd import APGD
from holdfast.attacks.attack import Attack, minimal
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least
from holdfast.attacks.wrapper import Wrapper
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import map_lanes, take
from holdfast.threats import Limits, whole_box

FIRST = 1 / 16  # of the size of the box: large rather than small, as runs that succeed are short
NEAR = 0.9  # how far below a success is looked on where a longer run failed at a larger radius
CLOSE = 1e-3  # the search ends where the interval is this share of its upper end


@dataclass(frozen=True)
class Search:
    """Where a lane is, one row a lane."""

    low: Tensor  # (L,) the radius at which a run last failed, 0 at first
    high: Tensor  # (L,) the size of the smallest success, infinite at first
    radius: Tensor  # (L,) of the run under way
    limits: Limits  # of every input value, for that radius
    draws: Draws  # of that run: `round` is how many of its questions were answered
    last: Tensor  # (L,) bool: the run asks its last question
    state: Any  # the attack's own


@dataclass(frozen=True, kw_only=True)
class Bisect(Wrapper):
    """Runs `attack` at one radius after another: in the middle between where it failed and its smallest success.

    A run ends at its first success, whose size, often below the radius, is the upper end from then on. Before the
    first success the radius doubles. Each run has noise of its own. Runs that succeed are short; what they leave of
    `searches` whole runs goes to further ones, until the ends are a thousandth apart. Meant for attacks that heed the
    radius and ask about one point at a time.
    Cost: at most `searches` times that of `attack`. A run that fails asks a gradient at its last point as well, as the
    lanes beside it are elsewhere in theirs.
    Source: as a protocol for attacks of fixed radius: Cina et al. 2024, arXiv:2404.19460 (AttackBench).
    """

    attack: Attack = field(default=APGD(), metadata={"help": "what is run at each radius"})
    searches: int = field(default=10, metadata={"help": "how many whole runs may be spent on a picture"})

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "searches")
        if minimal(self.attack):
            raise OptionError(
                f"Bisect: attack={self.attack!r}; allowed: attacks that heed the radius. "
                "Run it by itself, as it looks for the smallest change anyway."
            )

    @property
    def rounds(self) -> int:
        """Those of all runs together."""
        return self.searches * self.attack.rounds

    @property
    def minimal(self) -> bool:
        """It looks for the smallest change."""
        return True

    def start(self, case: Case) -> tuple[Search, Query]:
        """The first run."""
        zero = torch.zeros_like(case.x.flatten(1)[:, 0])
        radius = zero + FIRST * whole_box(case.threat, tuple(case.x.shape[1:]))
        return self.run(case, zero, zero + torch.inf, radius, self.noise(case.draws, 0))

    def step(self, case: Case, at: Search, answer: Labels) -> tuple[Search, Query]:
        """A step of the run under way; where it is over, the first one of the next."""
        size = case.threat.size(answer.points - case.x)
        won = answer.reached & (size < at.high)
        asked = self.inside(case, at).round + 1
        over = won | at.last | (asked >= self.attack.rounds)
        # Lanes whose run is over are stepped with the others and then overwritten.
        stepped = replace(at, draws=at.draws.at(asked.clamp_max(self.attack.rounds - 1)))
        # Attacks that ask about one point at a time ask one kind of question.
        state, query = cast(tuple[Any, Query], self.attack.step(self.inside(case, stepped), at.state, answer))
        on = replace(at, draws=stepped.draws, state=state, last=self.ends(query))
        low = torch.where(won, torch.where(size > at.low, at.low, NEAR * size), at.radius)
        low, high = torch.where(over, low, at.low), torch.where(won, size, at.high)
        rows = over.nonzero().squeeze(1)  # the host waits for lanes that may be done anyway
        if not len(rows):
            return on, replace(query, over=None, done=over)
        double = (2 * at.radius).clamp_max(whole_box(case.threat, tuple(case.x.shape[1:])))
        middle = torch.where(high.isfinite(), (low + high) / 2, double)
        noise = self.noise(case.draws, case.round)
        again = self.run(*take((case, low, high, middle, noise), rows))
        on, query = map_lanes(lambda a, b: a.index_copy(0, rows, b), (on, replace(query, over=None)), again)
        return on, replace(query, done=over & high.isfinite() & (high - low <= CLOSE * high))

    def run(self, case: Case, low: Tensor, high: Tensor, radius: Tensor, draws: Draws) -> tuple[Search, Query]:
        """The first question of a run."""
        limits = case.threat.with_eps(radius).limits(case.x)
        at = Search(low, high, radius, limits, draws, last=torch.zeros_like(low, dtype=torch.bool), state=None)
        state, query = self.attack.start(self.inside(case, at))
        if query.lane is not None:
            raise OptionError(
                f"Bisect: {self.attack.name} asks several points at once; allowed: attacks that ask one at a time. "
                "Set ahead=1 where it has that option."
            )
        return replace(at, state=state, last=self.ends(query)), replace(query, over=None, done=None)

    def inside(self, case: Case, at: Search) -> Case:
        """The lanes as the attack sees them."""
        return replace(case, threat=case.threat.with_eps(at.radius), limits=at.limits, draws=at.draws)

    def noise(self, draws: Draws, asked: Tensor | int) -> Draws:
        """The numbers of a run that begins after so many questions of all: those of a restart not used elsewhere."""
        assert draws.restart is not None  # filled in by `Draws` itself
        return replace(draws, restart=draws.restart * self.rounds + asked, key=None, round=None)

    def ends(self, query: Query) -> Tensor:
        """(L,) bool: lanes whose run ends with this question."""
        none = torch.zeros(len(query.points), dtype=torch.bool, device=query.points.device)
        return (none if query.over is None else query.over) | (none if query.done is None else query.done)


@dataclass(frozen=True, kw_only=True)
class BisectedAPGD:
    """`Bisect` of `APGD`, with plain options, for the command line.

    Cost: at most `searches` times `steps + 1` forward and backward passes a lane.
    Source: see there; this attack under that protocol: Cina et al. 2024, arXiv:2404.19460 (AttackBench).
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations of a whole run"})
    searches: int = field(default=10, metadata={"help": "how many whole runs may be spent on a picture"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "bisect"
    minimal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "searches")

    @cached_property
    def whole(self) -> Bisect:
        """The attack that this stands for."""
        return Bisect(attack=APGD(steps=self.steps, loss=self.loss), searches=self.searches)

    @property
    def rounds(self) -> int:
        """Those of all runs together."""
        return self.whole.rounds

    def start(self, case: Case) -> tuple[Search, Query]:
        """The first run."""
        return self.whole.start(case)

    def step(self, case: Case, at: Search, answer: Labels) -> tuple[Search, Query]:
        """A step of the run under way; where it is over, the first one of the next."""
        return self.whole.step(case, at, answer)

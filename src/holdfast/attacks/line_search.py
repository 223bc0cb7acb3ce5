"""Line searches: how much blur, loss of contrast, or salt and pepper it takes, by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.attack import WHOLE
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.phases import OVER, Heard, Phase, Walk, begin, go_on, in_phase, one_each
from holdfast.attacks.places import random_sides
from holdfast.errors import OptionError
from holdfast.lanes import choose
from holdfast.options import one_of

GRID, HALVE = range(2)
WIDEST = 1 / 4  # of a side: the widest blur's standard deviation


@dataclass(frozen=True)
class Line:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    tried: Tensor  # (L,) int64, lines gone along
    low: Tensor  # (L,) the largest strength known to fail before the smallest that succeeds
    high: Tensor  # (L,) that smallest one
    halved: Tensor  # (L,) int64, how often the way between them was


@dataclass(frozen=True, kw_only=True)
class LineSearch:
    """Go along one line of changes until the goal is reached, and halve the last stretch.

    `along`: `blur` blurs each channel with a Gaussian, up to a quarter of a side wide, sides of the picture taking part
    with what lies inside; `contrast` moves all values towards the middle of the box; `salt-and-pepper` sets more and
    more values, chosen once at random, to a side of the box each, and begins again with others (`lines` times).
    What no line reaches holds. Simple as they are, these say what a picture can take that no one has aimed at it.
    Cost: `steps` forward passes a line, and `halvings` more; labels alone.
    Source: the attacks of these names in Foolbox (Rauber, Brendel & Bethge 2017, arXiv:1707.04131), which blurs wider.
    """

    along: Literal["blur", "contrast", "salt-and-pepper"] = field(default="blur", metadata={"help": "what changes"})
    steps: int = field(default=50, metadata={"help": "strengths tried along a line, evenly spaced"})
    halvings: int = field(default=10, metadata={"help": "how often the last stretch is halved"})
    lines: int = field(default=5, metadata={"help": "how often salt and pepper are drawn anew"})
    access: ClassVar[Access] = Access.LABELS
    minimal: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = WHOLE
    name: ClassVar[str] = "line-search"
    needs_pictures: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "halvings", "lines")
        one_of(self, "along")

    @property
    def queries(self) -> int:
        """The most points asked about each picture."""
        return self.times * (self.steps + self.halvings)

    @property
    def breadth(self) -> int:
        """How many a lane asks about at once, at most."""
        return self.steps

    @property
    def times(self) -> int:
        """How many different lines there are to go along."""
        return self.lines if self.along == "salt-and-pepper" else 1

    @property
    def rounds(self) -> int:
        """One question for a line's steps, one a halving, and none at the end."""
        return self.times * (1 + self.halvings) + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """All strengths of the first line."""
        if self.along == "blur" and case.x.ndim != 4:
            raise OptionError(
                f"LineSearch: along='blur' for inputs of shape {tuple(case.x.shape[1:])}; allowed: pictures (C, H, W). "
                "Pass along=contrast or along=salt-and-pepper."
            )
        none, zero = torch.zeros_like(case.round), torch.zeros_like(case.x.flatten(1)[:, 0])
        return begin(self.phases, case, Line(none, none, zero, zero, none), self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases, case, walk, answer, self.queries)

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order of their numbers."""
        return (Grid(search=self), Halve(search=self))

    def point(self, case: Case, line: Tensor, strength: Tensor) -> Tensor:
        """(L, S, C, H, W): the picture changed along a line of that number (L,) by strengths in [0, 1].

        Strengths are (L, S), or (1, S) for all lanes alike.
        """
        x = case.x[:, None]
        if self.along == "blur":
            return blurred(case.x, strength).clamp_(case.threat.low, case.threat.high)
        far = torch.full_like(x, (case.threat.low + case.threat.high) / 2)
        if self.along == "contrast":
            return torch.lerp(x, far, column2(strength, x))
        draws = case.draws.at(line)
        return torch.where(draws.uniform(case.x)[:, None] < column2(strength, x), random_sides(case, draws)[:, None], x)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All strengths of a line at once."""

    search: LineSearch

    def ask(self, case: Case, at: Line) -> tuple[Tensor, Tensor]:
        """Evenly spaced, the full strength the last."""
        strength = torch.arange(1, self.search.steps + 1, device=case.x.device).to(case.x) / self.search.steps
        points = self.search.point(case, at.tried, strength[None])
        return points, torch.full_like(at.phase, self.search.steps)

    def hear(self, case: Case, at: Line, heard: Heard) -> Line:
        """To the stretch before the first success; without one along another line, if there is any."""
        high = (1 + heard.won.int().argmax(1)).to(at.high) / self.search.steps
        found = in_phase(at, HALVE, high=high, low=high - 1 / self.search.steps, halved=torch.zeros_like(at.halved))
        return choose(heard.any_won, found, further(at, self.search))


@dataclass(frozen=True, kw_only=True)
class Halve:
    """Half way along the last stretch."""

    search: LineSearch

    def ask(self, case: Case, at: Line) -> tuple[Tensor, Tensor]:
        """One point."""
        return one_each(self.search.point(case, at.tried, ((at.low + at.high) / 2)[:, None])[:, 0])

    def hear(self, case: Case, at: Line, heard: Heard) -> Line:
        """On in this half or that; at the end along another line, if there is any."""
        middle, won = (at.low + at.high) / 2, heard.any_won
        on = replace(
            at,
            low=torch.where(won, at.low, middle),
            high=torch.where(won, middle, at.high),
            halved=at.halved + 1,
        )
        return choose(on.halved >= self.search.halvings, further(on, self.search), on)


def further(at: Line, search: LineSearch) -> Line:
    """The next line; over after the last."""
    on = in_phase(at, GRID, tried=at.tried + 1)
    return choose(on.tried >= search.times, in_phase(on, OVER), on)


def column2(strength: Tensor, like: Tensor) -> Tensor:
    """(L, S) or (1, S) against (L, S, C, H, W)."""
    return strength.view(*strength.shape, *[1] * (like.ndim - 2))


def blurred(x: Tensor, strength: Tensor) -> Tensor:
    """(L, S, C, H, W): pictures (L, C, H, W) blurred by Gaussians of `strength` (L, S) or (1, S) times the widest.

    Weights are normalised over what lies inside the picture.
    """
    rows, columns = (weights(strength, side) for side in x.shape[2:])
    return torch.einsum("lsij,lcjk,lsmk->lscim", rows.to(x), x, columns.to(x))


def weights(strength: Tensor, side: int) -> Tensor:
    """(L, S, side, side): how much each value takes from each other one along a side."""
    place = torch.arange(side, device=strength.device, dtype=torch.float64)
    width = (strength.double() * (WIDEST * side)).clamp_min(1e-3)[..., None, None]
    return (-((place[:, None] - place) / width).square() / 2).softmax(-1)

"""Pointwise: put changed places back one after the other while the goal stays reached, by labels alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Labels, Query
from holdfast.attacks.by_labels import Begin
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.phases import OVER, Heard, Phase, Walk, begin, go_on, in_phase, one_each
from holdfast.attacks.places import by_place, random_sides
from holdfast.lanes import choose, column
from holdfast.threats.l0 import largest

BEGIN, RESET, SPRINKLE = range(3)
SHARES = 20  # of salt and pepper, evenly spaced, at the very first
FIRST = 1 / 8  # of the changed places are put back at once, at first


@dataclass(frozen=True)
class Pruned:
    """Where a lane is."""

    phase: Tensor  # (L,) int64
    x_adv: Tensor  # (L, C, H, W) reaches the goal, once there is one
    tried: Tensor  # (L,) int64, questions in the first phase
    waits: Tensor  # (L, places) 1 where a place has not been tried since the sizes last changed, else 0
    asked: Tensor  # (L, places) 1 where the point that is asked about has the picture's values again
    size: Tensor  # (L,) how many are put back at once; 0 before the first
    helped: Tensor  # (L,) bool, whether any could be put back since the sweep began


@dataclass(frozen=True, kw_only=True)
class Pointwise:
    """Begin with salt and pepper, as little as reaches the goal, and put back to the original what can be put back.

    Goes through the changed places in random order, again and again until no single one can be put back. Ours: at first
    an eighth of them is put back at once, then half as many whenever a sweep through all has come to nothing, down to
    one, which asks far less; the end has the published one's property all the same. Where no salt and pepper reaches
    the goal it begins at another picture that does.
    Cost: `queries` forward passes, labels alone.
    Source: Schott, Rauber, Bethge & Brendel 2019, arXiv:1805.09190, sec. 5 (pointwise attack).
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    access: ClassVar[Access] = Access.LABELS
    name: ClassVar[str] = "pointwise"
    minimal: ClassVar[bool] = True
    begins_elsewhere: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l0", "pixels")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries")

    @property
    def rounds(self) -> int:
        """One question a point at most, and none at the end."""
        return self.queries + 1

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Salt and pepper."""
        none, zero = torch.zeros_like(case.round), torch.zeros_like(by_place(case, case.x)[:, 0])
        at = Pruned(none + SPRINKLE, case.x, none, zero, zero, zero[:, 0], none > 0)
        return begin(self.phases, case, at, self.queries)

    def step(self, case: Case, walk: Walk, answer: Labels) -> tuple[Walk, Query]:
        """Each lane in its phase."""
        return go_on(self.phases, case, walk, answer, self.queries)

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order of their numbers."""
        return (Found(), Reset(), Sprinkle())


@dataclass(frozen=True, kw_only=True)
class Sprinkle:
    """More and more values at random sides of the box, all at once."""

    def ask(self, case: Case, at: Pruned) -> tuple[Tensor, Tensor]:
        """Every share of the values."""
        share = torch.arange(1, SHARES + 1, device=case.x.device).to(case.x) / SHARES
        set_ = case.draws.uniform(case.x)[:, None] < column(share, case.x)[None]
        points = torch.where(set_, random_sides(case, case.draws)[:, None], case.x[:, None])
        return points, torch.full_like(at.phase, SHARES)

    def hear(self, case: Case, at: Pruned, heard: Heard) -> Pruned:
        """On from the least that reaches the goal, or begin elsewhere."""
        found = pruning(case, in_phase(at, RESET, x_adv=heard.first_won))
        return choose(heard.any_won, found, in_phase(at, BEGIN))


@dataclass(frozen=True, kw_only=True)
class Found:
    """The common beginning, and with what it found the first places to put back."""

    begin: ClassVar[Begin] = Begin(then=RESET)

    def ask(self, case: Case, at: Pruned) -> tuple[Tensor, Tensor]:
        """As all begin."""
        return self.begin.ask(case, at)

    def hear(self, case: Case, at: Pruned, heard: Heard) -> Pruned:
        """On with all changed places, an eighth at once."""
        at = self.begin.hear(case, at, heard)
        return choose(at.phase == RESET, pruning(case, at), at)


@dataclass(frozen=True, kw_only=True)
class Reset:
    """Ask about the picture with some places put back."""

    def ask(self, case: Case, at: Pruned) -> tuple[Tensor, Tensor]:
        """One point."""
        return one_each(put_back(case, at))

    def hear(self, case: Case, at: Pruned, heard: Heard) -> Pruned:
        """Keep it where the goal is still reached; on to the next places, the next sweep, or the end."""
        won = heard.any_won
        x_adv = choose(won, put_back(case, at), at.x_adv)
        changed = changed_places(case, x_adv)
        on = replace(at, x_adv=x_adv, waits=at.waits * (1 - at.asked) * changed, helped=at.helped | won)
        through = on.waits.sum(1) == 0
        # A sweep that helped is gone through again with as many; one that did not, with half as many.
        size = torch.where(on.helped, on.size, (on.size / 2).floor())
        over = through & ((size < 1) | (changed.sum(1) == 0))
        again = replace(on, waits=changed, size=size, helped=torch.zeros_like(on.helped))
        on = in_phase(with_next(case, choose(through, again, on)), RESET)
        return choose(over, in_phase(on, OVER), on)


def pruning(case: Case, at: Pruned) -> Pruned:
    """The state before the first places are put back: all changed ones wait, an eighth of them at once."""
    changed = changed_places(case, at.x_adv)
    return with_next(case, replace(at, waits=changed, size=(changed.sum(1) * FIRST).floor().clamp_min(1)))


def with_next(case: Case, at: Pruned) -> Pruned:
    """The state with the places to be put back next, at random among those that wait."""
    key = (1 + case.draws.uniform(at.waits)) * at.waits
    return replace(at, asked=largest(key, at.size.double()) * at.waits)


def put_back(case: Case, at: Pruned) -> Tensor:
    """`x_adv` with the asked places as in the picture."""
    x, x_adv = by_place(case, case.x), by_place(case, at.x_adv)
    return torch.where((at.asked > 0)[:, None], x, x_adv).view_as(case.x)


def changed_places(case: Case, x_adv: Tensor) -> Tensor:
    """(L, places): 1 where any value differs from the picture's, else 0."""
    return by_place(case, x_adv != case.x).any(1).to(x_adv)

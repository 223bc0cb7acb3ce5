"""SimBA: one value, or one wave of the cosine transform, up or down after the other, by scores alone."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.by_scores import height_there, heights, least_rise
from holdfast.attacks.case import Case
from holdfast.attacks.low_frequencies import waves
from holdfast.attacks.options import LossName, at_least, positive
from holdfast.errors import OptionError
from holdfast.lanes import choose, column
from holdfast.losses import OBJECTIVES
from holdfast.options import one_of

STRIDE = 1 / 8  # of a picture's side: waves this much shorter come only after the longer ones are through


@dataclass(frozen=True, kw_only=True)
class SimBA:
    """Step along one direction of a basis, and back along it where that did not help; keep what raised the loss.

    Directions come in random order, each once, then again in the same order. `basis`: `pixels` takes single values,
    `dct` the waves of the cosine transform of each channel, the longest eighth first (a random order within it), then
    those up to the next eighth, and so on.
    The best picture is cut back to the threat after each step. The source has no radius: its changes grow with the root
    of the steps that helped.
    Cost: `queries` forward passes a lane, one or two a direction, no gradient.
    Source: Guo, Gardner, You, Wilson & Weinberger 2019, arXiv:1905.07121, algorithm 1. Its score is the probability of
    the label; ours are the odds against it, which fall as that rises and still tell apart what rounds to 1.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture and restart"})
    step_size: float = field(default=0.2, metadata={"help": "length of a step, in widths of the box"})
    basis: Literal["pixels", "dct"] = field(default="pixels", metadata={"help": "what a direction is"})
    loss: LossName = field(default="log_odds", metadata={"help": "what is ascended"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "simba"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "restarts")
        one_of(self, "basis")
        positive(self, "step_size")

    @property
    def rounds(self) -> int:
        """One point a question."""
        return self.queries

    def start(self, case: Case) -> "tuple[Search, Query]":
        """One step from the picture."""
        if self.basis == "dct" and case.x.ndim != 4:
            raise OptionError(
                f"SimBA: basis='dct' for inputs of shape {tuple(case.x.shape[1:])}; allowed: pictures (C, H, W). "
                "Pass basis=pixels."
            )
        none = torch.zeros_like(case.round)
        at = Search(case.x, height_there(case, OBJECTIVES[self.loss]), self.order(case), none, none > 0)
        return at, Query(self.tried(case, at))

    def step(self, case: Case, at: "Search", answer: Scores) -> "tuple[Search, Query]":
        """Keep what helped; then the other way, or the next direction."""
        loss = heights(case, answer, OBJECTIVES[self.loss])
        better = loss > least_rise(at.loss, answer)
        best = choose(better, answer.points, at.best)
        through = better | at.back
        on = Search(best, torch.where(better, loss, at.loss), at.order, at.number + through, ~through)
        return on, Query(self.tried(case, on))

    def tried(self, case: Case, at: "Search") -> Tensor:
        """The best picture one step further."""
        number = at.order.gather(1, (at.number % at.order.shape[1])[:, None]).long()
        width = case.threat.high - case.threat.low
        length = torch.where(at.back, -self.step_size * width, self.step_size * width).to(at.best)
        if self.basis == "pixels":
            moved = at.best.flatten(1).scatter_add(1, number, length[:, None]).view_as(at.best)
        else:
            moved = torch.addcmul(at.best, wave(number[:, 0], at.best), column(length, at.best))
        return case.project(moved)

    def order(self, case: Case) -> Tensor:
        """(L, d) int32: the directions in the order they come in."""
        key = case.draws.uniform(case.x)
        if self.basis == "dct":
            stage = [torch.arange(side, device=key.device) // max(1, round(STRIDE * side)) for side in key.shape[2:]]
            key = key + torch.maximum(stage[0][:, None], stage[1][None])
        return key.flatten(1).argsort(dim=1, stable=True).int()


@dataclass(frozen=True)
class Search:
    """Where a lane is."""

    best: Tensor  # the picture of the highest loss
    loss: Tensor  # (L,) there
    order: Tensor  # (L, d) int32, directions
    number: Tensor  # (L,) int64, how many came before the one that is tried
    back: Tensor  # (L,) bool: it is tried backwards


def wave(number: Tensor, like: Tensor) -> Tensor:
    """(L, C, H, W): the wave of that number (L,) in its channel, of length 1; channels, then rows, then columns."""
    channels, high, wide = like.shape[1:]
    rows = waves(high, high).to(like).T[number // wide % high]
    columns = waves(wide, wide).to(like).T[number % wide]
    channel = torch.nn.functional.one_hot(number // (high * wide), channels).to(like)
    return torch.einsum("lc,lh,lw->lchw", channel, rows, columns)

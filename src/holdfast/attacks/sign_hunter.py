"""SignHunter: which corner of the ball, block by block, by scores alone."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.blocks import Blocks
from holdfast.attacks.by_scores import heights, least_rise, nowhere
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least
from holdfast.lanes import choose
from holdfast.losses import OBJECTIVES
from holdfast.threats import whole_box


@dataclass(frozen=True, kw_only=True)
class SignHunter:
    """Move every value by as much as the radius allows, and turn the signs of ever smaller blocks where that helps.

    Begins with all values up, then turns all, each half, each quarter, down to single values; after those it begins
    anew from the best signs. Linf: every value moves by the radius; L2 and L1: by as much as if all move alike.
    Draws nothing, so a restart would only repeat it.
    Cost: `queries` forward passes a picture, no gradient.
    Source: Al-Dujaili & O'Reilly 2020, arXiv:1902.06894, algorithm 2; the margin in place of the cross-entropy.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture"})
    loss: LossName = field(default="margin", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "sign-hunter"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries")

    @property
    def rounds(self) -> int:
        """One point a question."""
        return self.queries

    def start(self, case: Case) -> "tuple[Hunt, Query]":
        """All values up."""
        sign = torch.ones_like(case.x)
        return Hunt(sign, nowhere(case), Blocks.first(case.round, -1)), Query(moved(case, sign))

    def step(self, case: Case, at: "Hunt", answer: Scores) -> "tuple[Hunt, Query]":
        """Keep the turn if the loss rose, and turn the next block."""
        loss = heights(case, answer, OBJECTIVES[self.loss])
        better = loss > least_rise(at.loss, answer)
        sign = choose(better, at.blocks.turned(at.sign), at.sign)
        blocks = at.blocks.next(sign[0].numel())
        on = Hunt(sign, torch.where(better, loss, at.loss), blocks)
        return on, Query(moved(case, blocks.turned(sign)))


@dataclass(frozen=True)
class Hunt:
    """Where a lane is."""

    sign: Tensor  # like x, -1 or 1: the best so far
    loss: Tensor  # (L,) there; -inf before anything was seen
    blocks: Blocks  # whose signs were turned for the point that is asked about


def moved(case: Case, sign: Tensor) -> Tensor:
    """The corner that the signs say, cut to the threat."""
    of_corner = whole_box(case.threat, tuple(sign.shape[1:])) / (case.threat.high - case.threat.low)
    return case.ascend(case.x, sign, 1 / of_corner)

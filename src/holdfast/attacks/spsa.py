"""SPSA: Adam on a gradient that is estimated from scores, along random signs."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.case import Case
from holdfast.attacks.differences import either_side, estimated
from holdfast.attacks.options import LossName, at_least, at_least_a_step, positive
from holdfast.attacks.penalty import Adam
from holdfast.losses import OBJECTIVES
from holdfast.threats import whole_box


@dataclass(frozen=True, kw_only=True)
class SPSA:
    """Ascend by Adam's steps an estimate of the gradient from simultaneous perturbations: every value up or down.

    Adam moves each value by about its step size, so that a step of the whole radius in every value is what
    `step_size` = 1 stands for in Linf, and one of that norm's size elsewhere.
    Cost: 2 `pairs` + 1 forward passes a step, `queries` in all or a step less; no gradient.
    Ours: fewer ways and longer steps than the paper's, which asks up to 8,192 points a step; and the margin.
    Source: Uesato, O'Donoghue, van den Oord & Kohli 2018, arXiv:1802.05666, sec. 3.3 and appendix; the estimate: Spall
    1992, doi:10.1109/9.119632.
    """

    queries: int = field(default=5000, metadata={"help": "points asked about each picture and restart"})
    pairs: int = field(default=32, metadata={"help": "random ways a step, each asked about in both directions"})
    spread: float = field(default=0.01, metadata={"help": "how far each value moves, in widths of the box"})
    step_size: float = field(default=1.0, metadata={"help": "of a value at first, in units of eps"})
    loss: LossName = field(default="margin", metadata={"help": "what is ascended"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "spsa"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")

    def __post_init__(self) -> None:
        at_least(self, 1, "queries", "pairs", "restarts")
        positive(self, "spread", "step_size")
        at_least_a_step(self)

    @property
    def breadth(self) -> int:
        """How many a lane asks about at once."""
        return 2 * self.pairs + 1

    @property
    def rounds(self) -> int:
        """As many whole steps as the questions allow."""
        return self.queries // self.breadth

    def start(self, case: Case) -> tuple[Adam, Query]:
        """Begin at the picture."""
        return Adam.fresh(case.x), self.question(case, case.x)

    def step(self, case: Case, adam: Adam, answer: Scores) -> tuple[Adam, Query]:
        """One of Adam's steps, cut to the threat."""
        x_adv, _, gradient = estimated(case, answer, OBJECTIVES[self.loss])
        of_corner = whole_box(case.threat, tuple(x_adv.shape[1:])) / (case.threat.high - case.threat.low)
        adam, move = adam.descend(gradient.neg_(), case.threat.eps * (self.step_size / of_corner))
        return adam, self.question(case, case.project(x_adv + move))

    def question(self, case: Case, x_adv: Tensor) -> Query:
        """The point, and those around it."""
        way = case.draws.signs(x_adv[:, None].expand(-1, self.pairs, *x_adv.shape[1:]))
        return either_side(case, x_adv, way, self.spread * (case.threat.high - case.threat.low))

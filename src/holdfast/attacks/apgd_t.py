"""Auto-PGD towards several classes in turn."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from holdfast.access import Query
from holdfast.attacks.apgd import APGD
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least
from holdfast.losses import OBJECTIVES, Goal


@dataclass(frozen=True, kw_only=True)
class APGDT(APGD):
    """`APGD` once towards each of the classes that the model holds likeliest for the unchanged picture.

    A lane wins by any wrong class: the target steers the loss only. There are at most K - 1 targets; a picture that
    has a wanted class of its own is driven towards that one alone.
    Cost: as `APGD`, for each target.
    Source: Croce & Hein 2020, arXiv:2003.01690, sec. 4.1 and 5, with nine targets; five in L1 (arXiv:2103.01208).
    """

    targets_tried: int = field(default=9, metadata={"help": "the most classes each picture is driven towards"})
    loss: LossName = field(default="dlr", metadata={"help": "what is ascended, in its targeted form"})
    name: ClassVar[str] = "apgd-t"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "targets_tried")

    def targets(self, logits: Tensor, goal: Goal) -> Tensor:
        """(N, T) the likeliest wrong classes of each unchanged picture, or the wanted one."""
        return likeliest(logits, goal, self.targets_tried)

    def question(self, case: Case, x_adv: Tensor) -> Query:
        """The gradient of the loss towards the lane's target."""
        return Query(x_adv, gradient_of=OBJECTIVES[self.loss], towards=Goal(case.goal.y, case.target))


def likeliest(logits: Tensor, goal: Goal, most: int) -> Tensor:
    """(N, T) int64: the classes with the largest logits but the label's, T = min(most, K - 1); or the wanted class."""
    if goal.target is not None:
        return goal.target[:, None]
    others = logits.scatter(1, goal.y[:, None], -float("inf"))
    return others.topk(min(most, logits.shape[1] - 1), dim=1).indices

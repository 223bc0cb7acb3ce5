"""Auto-PGD on a classifier and its detector: its steps, along gradients that do not undo what was reached."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch

from holdfast.access import Access, Gradient, Query
from holdfast.attacks import apgd, apgd_l1
from holdfast.attacks.case import Case
from holdfast.attacks.options import at_least
from holdfast.attacks.orthogonal_pgd import uphill
from holdfast.attacks.stages import Stages
from holdfast.losses.evasion import MISLEAD, SLIP
from holdfast.options import one_of


@dataclass(frozen=True, kw_only=True)
class OrthogonalAPGD:
    """Auto-PGD whose steps are for the classifier until it is misled, then for the detector, as `orthogonal-pgd`.

    What it calls progress, for its best point and the length of its steps, is the smaller of both margins: how near
    the point is to being wrong and let through.
    Cost: `steps` forward and twice as many backward passes a lane, and one forward pass to look at the last point.
    Source: Bryniarski et al. 2021, arXiv:2106.15023, sec. 4 (the gradients); Croce & Hein 2020, arXiv:2003.01690 (the
    steps); that they go together so is ours.
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations a picture and restart"})
    projection: Literal["orthogonal", "selective"] = field(
        default="orthogonal", metadata={"help": "what is done to the gradient that a step follows"}
    )
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "orthogonal-apgd"
    guarded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options."""
        at_least(self, 1, "steps", "restarts")
        one_of(self, "projection")

    @property
    def stages(self) -> Stages:
        """All steps within the radius."""
        return Stages((1.0,), (self.steps,))

    @property
    def rounds(self) -> int:
        """`steps` answers and a last look."""
        return self.stages.rounds

    def start(self, case: Case) -> tuple[apgd.Climb | apgd_l1.Sparse, Query]:
        """Begin at a random point on the edge of the threat."""
        x_adv = case.edge()
        at = apgd_l1.begin(case, x_adv, known=False) if case.threat.sparse else apgd.begin(x_adv)
        return at, Query(x_adv, gradient_of=(MISLEAD, SLIP))

    def step(
        self, case: Case, at: apgd.Climb | apgd_l1.Sparse, answer: Gradient
    ) -> tuple[apgd.Climb | apgd_l1.Sparse, Query]:
        """One step for the one that is behind."""
        asked, behind = case.round - 1, torch.minimum(*answer.losses)
        one = replace(answer, losses=(behind,), gradients=(uphill(case, answer, self.projection),))
        on: apgd.Climb | apgd_l1.Sparse
        if isinstance(at, apgd_l1.Sparse):
            on = apgd_l1.climb(case, at, one, self.stages.look_up(asked, apgd_l1.periods))
        else:
            on = apgd.climb(case, at, one, self.stages.look_up(asked, apgd.periods), moved=asked > 0)
        return on, Query(on.x_adv, gradient_of=(MISLEAD, SLIP))

"""N-FGSM: a step from a point that much noise has moved, and no way back. For training only: it leaves the threat."""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, positive
from holdfast.losses import OBJECTIVES
from holdfast.options import option
from holdfast.threats import Threat


@dataclass(frozen=True, kw_only=True)
class NFGSM:
    """Move by noise of up to `noise` radii, then a step along the steepest direction there; only the box holds it.

    Its points lie up to `noise` + `step_size` radii from the picture, on purpose: noise that is cut back to the threat
    protects less against catastrophic overfitting. They are pictures to train on and no evidence of anything, so that
    it is none of the attacks by name, and where the engine is made to run it, what lies outside the threat counts for
    nothing. Noise is uniform in the threat's own ball, widened; the source has Linf.
    Raises: `OptionError` for lengths that are not positive.
    Cost: a forward and a backward pass a picture.
    Source: de Jorge et al. 2022, arXiv:2202.01181, whose settings are noise of 2 radii and a step of 1. There the
    gradient is taken in training mode, here in evaluation mode, as by every inner attack.
    """

    noise: float = option(2.0, "largest noise, in units of eps")
    step_size: float = option(1.0, "length of the step, in units of eps")
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "n-fgsm"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    masks: ClassVar[tuple[str, ...]] = ("linf", "l2")
    rounds: ClassVar[int] = 2
    straight: ClassVar[bool] = True
    wanders: ClassVar[bool] = True
    random_start: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the lengths."""
        positive(self, "noise", "step_size")

    def start(self, case: Case) -> tuple[None, Query]:
        """Ask at a noisy point."""
        return None, Query(self.wide(case.threat).sample(case.x, case.draws), gradient_of=OBJECTIVES[self.loss])

    def step(self, case: Case, state: None, answer: Gradient) -> tuple[None, Query]:
        """One step, cut to the box alone."""
        threat = case.threat
        direction = threat.steepest(answer.gradient, answer.points, self.wide(threat).limits(case.x))
        assert not isinstance(threat.eps, Tensor)  # training has one radius for all
        moved = answer.points + self.step_size * threat.eps * direction
        return None, Query(moved.clamp(threat.low, threat.high), gradient_of=OBJECTIVES[self.loss])

    def wide(self, threat: Threat) -> Threat:
        """The threat with a radius of `noise` radii. Raises: `OptionError` for one wider than the box."""
        return threat.with_eps(self.noise * threat.eps)

"""Iterated FGSM with momentum."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least, not_negative
from holdfast.losses import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class MIFGSM:
    """Follow a running sum of gradients, each scaled to a 1-norm of 1, in steps of eps / `steps` from the picture.

    A gradient of zero, or one that is not finite, adds nothing to the sum, so one bad step cannot stop a picture
    for good.
    Cost: `steps` forward and backward passes a picture and one forward pass to look at the last point.
    Source: Dong et al. 2018, arXiv:1710.06081, algorithm 1.
    """

    steps: int = field(default=10, metadata={"help": "gradient evaluations a picture; each step is eps / steps"})
    decay: float = field(default=1.0, metadata={"help": "share of the running sum kept at each step"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "mi-fgsm"

    def __post_init__(self) -> None:
        at_least(self, 1, "steps")
        not_negative(self, "decay")

    @property
    def rounds(self) -> int:
        """`steps` gradients and a last look."""
        return self.steps + 1

    def start(self, case: Case) -> tuple[Tensor, Query]:
        """Begin at the picture, with an empty sum."""
        return torch.zeros_like(case.x), Query(case.x, gradient_of=OBJECTIVES[self.loss])

    def step(self, case: Case, momentum: Tensor, answer: Gradient) -> tuple[Tensor, Query]:
        """Add the scaled gradient to the sum and step along it."""
        momentum = self.decay * momentum + unit_1_norm(answer.gradient)
        x_adv = case.ascend(answer.points, case.steepest(momentum, answer.points), 1 / self.steps)
        return momentum, Query(x_adv, gradient_of=OBJECTIVES[self.loss])


def unit_1_norm(gradient: Tensor) -> Tensor:
    """Each picture's gradient over its 1-norm; zeros where that is zero or not finite."""
    norm = gradient.abs().flatten(1).sum(1)
    usable = (norm > 0) & norm.isfinite()
    shape = (-1, *[1] * (gradient.ndim - 1))
    scaled = gradient / torch.where(usable, norm, torch.ones_like(norm)).view(shape)
    return torch.where(usable.view(shape), scaled, torch.zeros_like(scaled))

"""GradAlign: the loss's slope is to point the same way anywhere within the threat."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.train.step import Step
from holdfast.train.still import still


@dataclass(frozen=True, kw_only=True)
class GradAlign:
    """`weight` times 1 - cos(slope at x, slope at x + eta), eta uniform in the adversary's threat.

    Where slopes agree, one step finds what many would; catastrophic overfitting begins with their disagreement. The
    slope at x counts as a constant, as in the source's code for FGSM, though not in its formula: it saves half of the
    second derivatives. A picture without a slope at either point counts 0. Both slopes are taken in training mode and
    leave batch norm's statistics alone; the radius is the adversary's, in its warm-up too.
    Raises: `OptionError` for a weight that is not positive; a recipe refuses it without an adversary.
    Cost: two forward and three backward passes a picture, one of these through the second derivative.
    Source: Andriushchenko & Flammarion 2020, arXiv:2007.02617, sec. 4, whose weights on CIFAR-10 grow with eps, to 0.2
    at 8/255.
    """

    weight: float = option(0.2, "of the term")
    name: ClassVar[str] = "grad-align"
    wants_slope: ClassVar[bool] = False
    wants_threat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the weight."""
        if not 0 < self.weight < float("inf"):
            raise OptionError(f"GradAlign: weight={self.weight!r}; allowed: finite numbers above 0, such as 0.2.")

    def __call__(self, step: Step) -> Tensor:
        """(N,), and the cosines as a figure."""
        assert step.threat is not None  # said by `wants_threat`
        noisy = step.threat.sample(step.x, step.draws(self.name), step.threat.limits(step.x))
        with still(step.model):
            here, there = slope(step, step.x).detach(), slope(step, noisy, create_graph=True)
        cosine, flat = aligned(here, there)
        step.note("alignment", torch.where(flat, 1.0, cosine))
        return self.weight * torch.where(flat, 0.0, 1 - cosine)


def slope(step: Step, x: Tensor, *, create_graph: bool = False) -> Tensor:
    """The gradient of each picture's loss at `x`, (N, C, H, W)."""
    point = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(step.losses_at(point).sum(), point, create_graph=create_graph)
    return found


def aligned(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (N,) of the angles between (N, ...), and (N,) bool: where one of the two is zero and there is no angle.

    Largest value first: a slope of 1e-20, whose square underflows, has a direction too.
    """
    units, flat = [], torch.zeros(len(one), dtype=torch.bool, device=one.device)
    for vector in (one.flatten(1), other.flatten(1)):
        largest = vector.detach().abs().amax(1, keepdim=True)
        flat = flat | (largest == 0).squeeze(1)
        scaled = vector / torch.where(largest > 0, largest, 1.0)
        units.append(scaled / scaled.square().sum(1, keepdim=True).clamp_min(0.5).sqrt())
    return (units[0] * units[1]).sum(1), flat

"""Iterated FGSM with momentum, and what makes its pictures fool other models too."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks import scaling
from holdfast.attacks.attack import Asked
from holdfast.attacks.case import Case
from holdfast.attacks.diversity import Shrunk, shrinking
from holdfast.attacks.options import LossName, at_least, chance, not_negative, odd, positive
from holdfast.attacks.smoothing import smoothed
from holdfast.attacks.variance import around, tuned
from holdfast.lanes import column
from holdfast.losses import OBJECTIVES
from holdfast.threats import whole_box


@dataclass(frozen=True)
class Walk:
    """Where lanes are."""

    momentum: Tensor  # (L, C, H, W)
    x_adv: Tensor | None  # like it; None where the answer holds the very point
    variance: Tensor | None  # like it; None where no points around are asked about


@dataclass(frozen=True, kw_only=True)
class MIFGSM:
    """Follow a running sum of gradients, each scaled to a 1-norm of 1, in steps from the picture.

    A gradient of zero, or one that is not finite, adds nothing to the sum, so one bad step cannot stop a picture
    for good.
    The other options, off by default and free to combine, change where the gradient is taken and what is made of it, so
    that it fits one model less and others more: `look_ahead` (NI), `scales` (SI), `diversity` (DI), `kernel` (TI),
    `neighbours` (VMI). What is done to a picture before it is asked about is undone, by the chain rule, to the gradient
    that comes back. Points so asked about may lie outside the threat and do not count; the last one is looked at.
    Cost: `steps` x `scales` x (1 + `neighbours`) forward and backward passes a picture and one forward pass to look
    at the last point.
    Source: Dong et al. 2018, arXiv:1710.06081, algorithm 1; the others where they are written. NI: Lin et al. 2020,
    arXiv:1908.06281, eq. 6, with the sum scaled to a mean of 1 as in their code, since the 1-norm makes it vanish.
    """

    steps: int = field(default=10, metadata={"help": "gradients a picture, or sets of them; each step is eps / steps"})
    step_size: float | None = field(default=None, metadata={"help": "of a step, in units of eps; none: 1 / steps"})
    decay: float = field(default=1.0, metadata={"help": "share of the running sum kept at each step"})
    look_ahead: bool = field(default=False, metadata={"help": "take the gradient where the running sum leads (NI)"})
    scales: int = field(default=1, metadata={"help": "copies, each half as bright as the one before (SI)"})
    diversity: float = field(default=0.0, metadata={"help": "chance that a copy is shrunk and padded (DI)"})
    smallest: float = field(default=0.9, metadata={"help": "least share of its sides that a shrunk copy keeps"})
    kernel: int = field(default=1, metadata={"help": "side of the Gaussian that smooths the gradient, odd (TI)"})
    neighbours: int = field(default=0, metadata={"help": "random points around, whose gradients count too (VMI)"})
    spread: float = field(default=1.5, metadata={"help": "how far off those points lie, in units of eps"})
    loss: LossName = field(default="cross_entropy", metadata={"help": "what is ascended"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "mi-fgsm"

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "scales")
        at_least(self, 0, "neighbours")
        odd(self, "kernel")
        not_negative(self, "decay")
        positive(self, "spread", *([] if self.step_size is None else ["step_size"]))
        chance(self, "diversity", "smallest")

    @property
    def rounds(self) -> int:
        """`steps` gradients, or sets of them, and a last look."""
        return self.steps + 1

    @property
    def breadth(self) -> int:
        """Copies of the point and of those around it."""
        return self.scales * (1 + self.neighbours)

    @property
    def needs_pictures(self) -> bool:
        """Whether it looks at how pixels lie, or how bright they are."""
        return self.scales > 1 or self.diversity > 0 or self.kernel > 1

    @property
    def wanders(self) -> bool:
        """Whether it asks about anything but the points it comes to."""
        return self.look_ahead or self.breadth > 1 or self.diversity > 0

    @property
    def straight(self) -> bool:
        """Whether a round is one gradient, at the point it has come to."""
        return not self.wanders

    @property
    def norms(self) -> tuple[str, ...]:
        """Where changes are counted, neither noise around a point nor a look ahead has a length."""
        return ("linf", "l2", "l1") if self.look_ahead or self.neighbours else ()

    @property
    def share(self) -> float:
        """The length of a step, in units of the radius."""
        return 1 / self.steps if self.step_size is None else self.step_size

    def start(self, case: Case) -> tuple[Walk, Query]:
        """Begin at the picture, with an empty sum."""
        none = torch.zeros_like(case.x)
        walk = Walk(none, case.x if self.wanders else None, none if self.neighbours else None)
        return walk, self.question(case, case.x, none)

    def step(self, case: Case, walk: Walk, answer: Gradient) -> tuple[Walk, Asked]:
        """Add the scaled gradient to the sum and step along it."""
        at = answer.points if walk.x_adv is None else walk.x_adv
        gradient, variance = self.heard(case, answer.gradient, walk.variance)
        momentum = self.decay * walk.momentum + unit_1_norm(smoothed(gradient, self.kernel))
        x_adv = case.ascend(at, case.steepest(momentum, at), self.share)
        plain = Query(x_adv, gradient_of=OBJECTIVES[self.loss])
        if not self.wanders:
            return Walk(momentum, None, None), plain
        last = case.round >= self.steps
        return Walk(momentum, x_adv, variance), [(last, plain), (~last, self.question(case, x_adv, momentum))]

    def question(self, case: Case, x_adv: Tensor, momentum: Tensor) -> Query:
        """All that is asked about at once: the point, those around it, the copies of each, shrunk as chance has it."""
        points = self.ahead(case, x_adv, momentum) if self.look_ahead else x_adv
        if self.neighbours:
            noisy = around(case, points, self.neighbours, self.spread, self.rounds)
            points = torch.cat([points[:, None], noisy], 1).flatten(0, 1)
        if self.scales > 1:
            points = scaling.copies(points, self.scales, case.threat.low).flatten(0, 1)
        if self.diversity:
            points = self.shrunk(case)(points, case.threat.low)
        lane = torch.arange(len(x_adv), device=x_adv.device).repeat_interleave(self.breadth)
        return Query(points, gradient_of=OBJECTIVES[self.loss], lane=None if self.breadth == 1 else lane)

    def heard(self, case: Case, gradient: Tensor, variance: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The gradient to follow (L, C, H, W), and the variance for the next step, from the answer to `question`."""
        if self.diversity:
            asked = replace(case, draws=case.draws.at(case.round - 1))
            gradient = self.shrunk(asked).back(gradient)
        if self.scales > 1:
            gradient = scaling.back(gradient.unflatten(0, (-1, self.scales)))
        if variance is None:
            return gradient, None
        gradient = gradient.unflatten(0, (-1, 1 + self.neighbours))
        return gradient[:, 0] + variance, tuned(gradient[:, 0], gradient[:, 1:])

    def ahead(self, case: Case, x_adv: Tensor, momentum: Tensor) -> Tensor:
        """Where the running sum, at a mean size of 1, would lead in a step."""
        shape = tuple(x_adv.shape[1:])
        of_corner = whole_box(case.threat, shape) / (case.threat.high - case.threat.low)
        length = self.decay * self.share * (x_adv[0].numel() / of_corner) * case.threat.eps
        return x_adv + momentum * (column(length, x_adv).to(x_adv) if isinstance(length, Tensor) else length)

    def shrunk(self, case: Case) -> Shrunk:
        """How the copies are shrunk that are asked about in this round."""
        return shrinking(case, self.breadth, self.diversity, self.smallest)


def unit_1_norm(gradient: Tensor) -> Tensor:
    """Each picture's gradient over its 1-norm; zeros where that is zero or not finite."""
    norm = gradient.abs().flatten(1).sum(1)
    usable = (norm > 0) & norm.isfinite()
    shape = (-1, *[1] * (gradient.ndim - 1))
    scaled = gradient / torch.where(usable, norm, torch.ones_like(norm)).view(shape)
    return torch.where(usable.view(shape), scaled, torch.zeros_like(scaled))

"""How large the gradient of the loss is: pictures that little moves are taken to be attacked."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast.data import Pictures
from holdfast.detect.interface import Progress
from holdfast.errors import ModelError
from holdfast.losses.formulas import log_odds
from holdfast.models.guarded import Suspicion
from holdfast.options import one_of, option, refused

STEP = 0.01  # of differences, where nothing is said of it
LEAST = 1e-30  # below it all gradients are alike: a sure model's underflow


@dataclass(frozen=True, kw_only=True)
class GradientNorm:
    """The logarithm of the norm of the loss's gradient with respect to the picture.

    The loss is the cross-entropy of the predicted label, since the right one is not known in use. Nothing is fitted
    but the threshold.
    The norm is that of a backward pass, or by `differences` (loss(x + h v) - loss(x)) / h, with v the unit direction in
    which the loss rises most: the same but for an error of order h, and 0 where the loss turns within h.
    Who attacks it needs the gradient of that norm, a second derivative: by `double-backward`, or by `differences`, as
    the gradient of the same quotient with v held fixed, which is the second derivative along v but for an error of
    order h, whichever the norm itself is by.
    Cost: one forward and one backward pass a picture, by differences another forward pass; for its gradient a double
    backward pass, or by differences another of each.
    Source: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, sec. 4; the label in the loss is our reading.
    """

    norm: Literal["l2", "l1"] = option("l2", "of the gradient")
    by: Literal["backward", "differences"] = option("backward", "how it is found")
    slope: Literal["double-backward", "differences"] | None = option(
        None, "how its own gradient is found; none: double-backward, or differences where it is by them"
    )
    h: float | None = option(None, "length of the step of differences, in the norm dual to `norm`; none: 0.01")
    name: ClassVar[str] = "gradient-norm"

    def __post_init__(self) -> None:
        """Check the options."""
        one_of(self, "norm", "by", "slope")
        if self.by == "differences" and self.slope == "double-backward":
            raise refused(self, "slope", "differences with by=differences", "Leave it out, or take by=backward.")
        if self.h is None:
            return
        if not self.h > 0:
            raise refused(self, "h", "above 0", "For example h=0.01.")
        if self.twice:
            raise refused(self, "h", "none with slope=double-backward", "Leave it out, or take slope=differences.")

    @property
    def twice(self) -> bool:
        """Whether its gradient is by double backward."""
        return self.by == "backward" and self.slope != "differences"

    def fit(
        self,
        model: nn.Module,
        pictures: Pictures,
        *,
        seed: int = 0,
        batch: int = 256,
        progress: Progress | None = None,
    ) -> Suspicion:
        """Nothing is learnt."""
        return self.outline(model, pictures.shape)

    def outline(self, model: nn.Module, shape: tuple[int, ...]) -> Suspicion:
        """It has no values of its own."""
        return Steepness(self)


class Steepness(Suspicion):
    """The norm of the gradient at pictures."""

    def __init__(self, of: GradientNorm) -> None:
        super().__init__()
        self.of = of
        self.gradient = "exact" if of.twice else "differences"

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the logarithm of the norm (N,). Raises: `ModelError` where there is no gradient."""
        followed = torch.is_grad_enabled() and x.requires_grad
        twice = followed and self.of.twice
        with torch.enable_grad():
            at = x if followed else x.detach().requires_grad_()
            logits = model(at)
            label = logits.detach().argmax(1)
            loss = surely(logits, label)
            if not loss.requires_grad:
                raise ModelError(
                    f"gradient-norm: no gradient comes back through {type(model).__name__}; allowed: a classifier that "
                    "can be differentiated. Take a detector that looks at its answer, such as entropy."
                )
            (gradient,) = torch.autograd.grad(loss.sum(), at, create_graph=twice, retain_graph=followed)
            found = self.size(gradient)
            if self.of.by == "differences":
                found = self.rise(model, at, label, loss, gradient, found)
            elif followed and not twice:
                rise = self.rise(model, at, label, loss, gradient, found)
                found = found + (rise - rise.detach())  # its own value, with the gradient of the other
        suspicion = found.clamp_min(LEAST).log()
        return (logits, suspicion) if followed else (logits.detach(), suspicion.detach())

    def size(self, gradient: Tensor) -> Tensor:
        """The norm (N,) of gradients (N, C, H, W)."""
        flat = gradient.flatten(1)
        if self.of.norm == "l1":
            return flat.abs().sum(1)
        # In units of the largest, whose square does not underflow. The norm of zeros has no slope, which would be NaN.
        unit = flat.detach().abs().amax(1).clamp_min(LEAST)
        return unit * (flat / unit[:, None]).square().sum(1).clamp_min(LEAST).sqrt()

    def rise(self, model: nn.Module, x: Tensor, label: Tensor, loss: Tensor, gradient: Tensor, found: Tensor) -> Tensor:
        """How fast the loss (N,) rises along its gradient, whose norm (N,) was `found`, by differences."""
        rises = gradient.sign() if self.of.norm == "l1" else gradient / found.clamp_min(LEAST).view(-1, 1, 1, 1)
        h = STEP if self.of.h is None else self.of.h
        moved = surely(model(x + h * rises), label)
        return (moved - loss) / h


def surely(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy (N,) by the odds: its gradient keeps its digits where 1 - p of a sure model rounds to 0."""
    return nn.functional.softplus(-log_odds(logits, y))

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
    Who attacks it needs the gradient of that norm, a second derivative: by `double-backward`, or by `differences`, as
    (loss(x + h v) - loss(x)) / h with the unit direction v in which the loss rises most held fixed, whose gradient is
    the second derivative along v but for an error of order h. The suspicion itself is the same.
    Cost: one forward and one backward pass a picture; for its gradient a double backward pass, or another of each.
    Source: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, sec. 4; the label in the loss is our reading.
    """

    norm: Literal["l2", "l1"] = option("l2", "of the gradient")
    slope: Literal["double-backward", "differences"] = option("double-backward", "how its own gradient is found")
    h: float | None = option(
        None, f"length of the step of slope=differences, in the norm dual to `norm`; none: {STEP:g}"
    )
    name: ClassVar[str] = "gradient-norm"

    def __post_init__(self) -> None:
        """Check the options."""
        one_of(self, "norm", "slope")
        if self.h is None:
            return
        if not self.h > 0:
            raise refused(self, "h", "above 0", "For example h=0.01.")
        if self.slope != "differences":
            raise refused(self, "h", f"none with slope={self.slope}", "Leave it out, or take slope=differences.")

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

    def forward(self, model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the logarithm of the norm (N,). Raises: `ModelError` where there is no gradient."""
        followed = torch.is_grad_enabled() and x.requires_grad
        twice = followed and self.of.slope == "double-backward"
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
            if followed and not twice:
                found = self.followed(model, at, label, loss, gradient, found)
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

    def followed(
        self, model: nn.Module, x: Tensor, label: Tensor, loss: Tensor, gradient: Tensor, found: Tensor
    ) -> Tensor:
        """The norm, with a gradient by differences."""
        rises = gradient.sign() if self.of.norm == "l1" else gradient / found.clamp_min(LEAST).view(-1, 1, 1, 1)
        h = STEP if self.of.h is None else self.of.h
        moved = surely(model(x + h * rises), label)
        slope = (moved - loss) / h
        return found + (slope - slope.detach())


def surely(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy (N,) by the odds: its gradient keeps its digits where 1 - p of a sure model rounds to 0."""
    return nn.functional.softplus(-log_odds(logits, y))

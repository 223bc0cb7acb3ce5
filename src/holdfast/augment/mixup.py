"""Mixup: two pictures and their labels superimposed."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.augment.augmentation import numbers
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import column
from holdfast.losses.training import mixed_cross_entropy, mixed_log_likelihood
from holdfast.options import one_of, option, refused


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Superimpose each picture with another one, its share drawn from Beta(alpha, alpha), one share a picture.

    `form` chooses the loss of a superimposed picture with labels y1 and y2 and share a of the first: "source" is
    -log(a p(y1) + (1-a) p(y2)), "usual" is a CE(y1) + (1-a) CE(y2), which is never smaller and is what the paper uses.
    Raises: `OptionError` unless alpha is finite and above 0, or for an unknown form.
    Source: Zhang et al. 2018, arXiv:1710.09412, sec. 2, with one share a batch there.
    """

    alpha: float = option(1.0, "both parameters of the Beta distribution: small ones mix little, 1 is uniform")
    form: Literal["source", "usual"] = option("source", "the loss: of the mixed probability, or the mixed loss")

    name: ClassVar[str] = "mixup"

    def __post_init__(self) -> None:
        """Check the options."""
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise refused(self, "alpha", "a finite number above 0", "For shares uniform in [0, 1], pass alpha=1.")
        one_of(self, "form")

    def mix(self, x: Tensor, other: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The mixed pictures, like `x` (N, C, H, W), and the share (N,) of `x` in each, in the dtype of `x`.

        Raises: `OptionError` where `other` has another shape. The shares are computed on the CPU.
        """
        from scipy.special import betaincinv

        if other.shape != x.shape:
            raise OptionError(
                f"mixup: other has shape {tuple(other.shape)} and x {tuple(x.shape)}; allowed: the same. Give each "
                "picture one to be mixed with, such as x[torch.randperm(len(x))]."
            )
        uniform = numbers(draws, 1)[:, 0]
        share = torch.as_tensor(betaincinv(self.alpha, self.alpha, uniform.cpu().numpy())).to(x)
        part = column(share, x)
        return part * x + (1 - part) * other, share

    def loss(self, logits: Tensor, y1: Tensor, y2: Tensor, share: Tensor) -> Tensor:
        """(N,): the loss, in its form, of logits (N, K) of mixed pictures with labels `y1`, `y2` and `share` (N,)."""
        formula = mixed_log_likelihood if self.form == "source" else mixed_cross_entropy
        return formula(logits, y1, y2, share)

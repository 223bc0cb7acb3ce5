"""The answer to a picture and to two distorted versions of it should be the same."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.augment import AugMix, augmented
from holdfast.errors import OptionError
from holdfast.losses.training import jensen_shannon
from holdfast.options import option
from holdfast.train.step import Step


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """`weight` times the Jensen-Shannon divergence between the answers to a picture and to two AugMix versions of it.

    In the source the three versions share one batch, and so the statistics of batch norm; here the two distorted ones
    share theirs, and the picture has its own.
    Cost: two forward passes and their part of the backward pass.
    Source: Hendrycks et al. 2020, arXiv:1912.02781, sec. 3, eq. 1 and 2, with weight 12.
    """

    weight: float = option(12.0, "of the divergence, in nats")
    width: int = option(3, "chains of operations that are mixed")
    severity: int = option(3, "how strong the operations are, 1 to 10")
    name: ClassVar[str] = "consistency"
    wants_slope: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse what would drive answers apart; AugMix checks its own."""
        if not 0 <= self.weight < float("inf"):
            raise OptionError(f"Consistency: weight={self.weight!r}; allowed: finite numbers >= 0.")
        _ = self.augmix

    @property
    def augmix(self) -> AugMix:
        """What distorts the pictures."""
        return AugMix(width=self.width, severity=self.severity)

    def __call__(self, step: Step) -> Tensor:
        """(N,)."""
        views = [augmented(step.x, [self.augmix], seed=step.seed ^ view, place=step.place) for view in (1, 2)]
        answers = step.ask(torch.cat(views)).chunk(2)
        apart = jensen_shannon([step.logits, *answers])
        step.note("divergence", apart)
        return self.weight * apart

"""Lipschitz regularisation: the largest norm of the loss' gradient in the batch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.options import option
from holdfast.train.penalties.slope import (
    check_slope,
    gradient,
    length,
    steepness,
)
from holdfast.train.step import Step


@dataclass(frozen=True, kw_only=True)
class Lipschitz:
    """Add weight times max ||grad l(x)|| over the batch, that of all processes: one picture's, whoever holds it.

    The largest over any pictures bounds the Lipschitz constant of the loss from below only, and the batch's largest is
    below that over the data: this lowers the steepest places that were seen, and certifies nothing.
    Beside a total variation of the same norm, form and h it costs next to nothing: they share the passes. It leaves the
    same figure `gradient`. With batch norm in training the difference of one picture has a share of the others' moves;
    the double-backward form has not.
    Raises: `OptionError` for an option that is not allowed.
    Source: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, who take the maximum over the batch.
    """

    weight: float = option(0.1, "factor of the largest norm")
    norm: Literal["l2", "l1"] = option("l2", "of the gradient: l2, or l1 against changes bounded in the largest value")
    form: Literal["difference", "double-backward"] = option(
        "difference", "difference of two losses, or double-backward: the gradient differentiated"
    )
    h: float = option(0.1, "Euclidean length of the difference's move, in pixel units")
    name: ClassVar[str] = "lipschitz"
    wants_slope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse what is no penalty."""
        check_slope(self, "weight")

    @property
    def differences(self) -> bool:
        """Whether it takes small differences of losses, which a low precision would round away."""
        return self.form == "difference"

    def __call__(self, step: Step) -> Tensor:
        """(N,): 0 but for the steepest picture, which counts for all, so that the mean over the batch is the term."""
        found = steepness(step, norm=self.norm, form=self.form, h=self.h)
        slope = gradient(step, self.form).detach()
        step.note("gradient", length(slope, "l2"))
        return self.weight * step.count * found * steepest(step, length(slope, self.norm))


def steepest(step: Step, lengths: Tensor) -> Tensor:
    """(N,): 1 for the picture with the largest of the lengths, over all processes, else 0; of equal ones the last."""
    largest = lengths == step.largest(lengths)
    place = torch.where(largest, step.place, -1).double()  # no two pictures of a batch have the same
    return (largest & (place == step.largest(place))).to(lengths.dtype)

"""Total variation: the mean norm of the loss' gradient."""

from dataclasses import dataclass
from typing import ClassVar, Literal

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
class TotalVariation:
    """Add eps ||grad l(x)||: to first order, what the worst change of size eps adds to the loss.

    The norm is the dual of the one that bounds the change: L2 for L2, L1 for the largest value. It leaves the figure
    `gradient`, ||grad l||_2, whose mean and largest value are on record for every epoch. For batch norm, forms and cost
    see `holdfast.train.penalties.slope.steepness`.
    Raises: `OptionError` for an option that is not allowed.
    Source: Finlay, Oberman & Abbasi 2018, arXiv:1810.00953, for l + eps ||grad l|| as adversarial training in one step.
    """

    eps: float = option(0.01, "weight, and the size of the change that is feared, in pixel units")
    norm: Literal["l2", "l1"] = option("l2", "of the gradient: l2, or l1 against changes bounded in the largest value")
    form: Literal["difference", "double-backward"] = option(
        "difference", "difference of two losses, or double-backward: the gradient differentiated"
    )
    h: float = option(0.1, "Euclidean length of the difference's move, in pixel units")
    name: ClassVar[str] = "tv"
    wants_slope: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse what is no penalty."""
        check_slope(self, "eps")

    @property
    def differences(self) -> bool:
        """Whether it takes small differences of losses, which a low precision would round away."""
        return self.form == "difference"

    def __call__(self, step: Step) -> Tensor:
        """(N,), eps times the norm at `step.seen`."""
        found = self.eps * steepness(step, norm=self.norm, form=self.form, h=self.h)
        step.note("gradient", length(gradient(step, self.form).detach(), "l2"))
        return found

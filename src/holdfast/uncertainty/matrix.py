"""Matrix scaling: new logits from all the old ones."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.models.maps import Affine
from holdfast.options import option
from holdfast.uncertainty.affine import check_penalty, fitted
from holdfast.uncertainty.checks import check, check_classes
from holdfast.uncertainty.measures import surprises

PRICES = (100.0, 10.0, 1.0, 0.1, 0.01)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A matrix times the logits plus a bias a class, by the least negative log-likelihood.

    It has K^2 + K numbers to fit, and fits noise where classes are many and pictures few: `matrix-odir` is the form
    with penalties off the diagonal and on the biases. Predictions may change.
    Source: Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    """

    name: ClassVar[str] = "matrix"

    def fit(self, logits: Tensor, labels: Tensor) -> Affine:
        """See `Recalibration.fit`."""
        found, y = check(logits, labels)
        check_classes(y, found.shape[1], self.name)
        return fitted(found, y, full=True)


@dataclass(frozen=True, kw_only=True)
class MatrixODIR:
    """Matrix scaling with a price on weights off the diagonal and on biases, each a mean of squares.

    A price that is not given is the one of `PRICES` under which either half of the pictures, fitted alone, makes the
    other half likeliest; one for both. With prices that grow without bound it becomes scaling by a weight a class.
    Source: Kull et al. 2019, arXiv:1910.12656, sec. 4 (off-diagonal and intercept regularisation), whose prices are
    chosen by cross-validation too, each by itself.
    Raises: `OptionError` for a negative price.
    """

    off_diagonal: float | None = option(None, "price of weights off the diagonal; none: chosen by cross-validation")
    intercept: float | None = option(None, "price of the biases; none: as off the diagonal")
    name: ClassVar[str] = "matrix-odir"

    def __post_init__(self) -> None:
        given = {"off_diagonal": self.off_diagonal, "intercept": self.intercept}
        check_penalty("MatrixODIR", **{name: price for name, price in given.items() if price is not None})

    def fit(self, logits: Tensor, labels: Tensor) -> Affine:
        """See `Recalibration.fit`."""
        found, y = check(logits, labels)
        check_classes(y, found.shape[1], self.name)
        price = self._chosen(found, y) if self.off_diagonal is None else self.off_diagonal
        return self._fit(found, y, price)

    def _fit(self, logits: Tensor, y: Tensor, price: float, start: Affine | None = None) -> Affine:
        bias = price if self.intercept is None else self.intercept
        return fitted(logits, y, full=True, off_diagonal=price, intercept=bias, start=start)

    def _chosen(self, logits: Tensor, y: Tensor) -> float:
        """The price by cross-validation in two halves, evenly over the classes."""
        first = torch.zeros(len(y), dtype=torch.bool)
        first[y.argsort(stable=True)[::2]] = True
        losses = torch.zeros(len(PRICES), dtype=torch.float64)
        for part in (first, ~first):
            made = None
            for place, price in enumerate(PRICES):
                made = self._fit(logits[part], y[part], price, made)  # from where the dearer one ended
                losses[place] += surprises(made(logits[~part]), y[~part]).sum()
        return PRICES[int(losses.argmin())]

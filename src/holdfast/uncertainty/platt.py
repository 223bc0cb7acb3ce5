"""Platt scaling."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.models.maps import Sigmoids
from holdfast.models.maps.sigmoids import log_odds
from holdfast.options import option
from holdfast.uncertainty.checks import check, check_classes

STEPS = 1000  # of L-BFGS at most


@dataclass(frozen=True, kw_only=True)
class Platt:
    """A sigmoid of a f + b for each class against all others, f being its log-odds, then renormalise.

    For two classes f is the difference of the logits, and the two sigmoids agree. Fitted by the least cross-entropy
    with targets (h + 1) / (h + 2) and 1 / (m + 2) instead of 1 and 0 for h pictures in the class and m outside, so that
    it does not diverge where a class is told apart without an error. Predictions may change.
    Source: Platt 1999, Advances in Large Margin Classifiers, sec. 2.2; to several classes as Guo et al. 2017,
    arXiv:1706.04599, sec. 4.2.
    """

    smooth: bool = option(True, "targets inside 0 and 1, as in the source")
    name: ClassVar[str] = "platt"

    def fit(self, logits: Tensor, labels: Tensor) -> Sigmoids:
        """See `Recalibration.fit`."""
        found, y = check(logits, labels)
        check_classes(y, found.shape[1], self.name)
        made = Sigmoids(found.shape[1])
        odds = log_odds(found)
        for k in range(found.shape[1]):
            made.slope[k], made.shift[k] = self._class(odds[:, k].numpy(), (y == k).numpy())
        return made

    def _class(self, f: NDArray[np.float64], hits: NDArray[np.bool_]) -> tuple[float, float]:
        """Slope and shift."""
        from scipy.optimize import minimize

        inside = int(hits.sum())
        high, low = ((inside + 1) / (inside + 2), 1 / (len(hits) - inside + 2)) if self.smooth else (1.0, 0.0)
        target = np.where(hits, high, low)
        # Standardised: log-odds may be in the hundreds, and steps of one size must fit slope and shift.
        centre, spread = float(f.mean()), float(f.std()) or 1.0
        start = np.array([spread, centre])
        data, options = ((f - centre) / spread, target), {"maxiter": STEPS, "gtol": 1e-8}
        found = minimize(_loss, start, args=data, jac=True, method="L-BFGS-B", options=options)
        slope, shift = found.x
        return float(slope / spread), float(shift - slope * centre / spread)


def _loss(
    values: NDArray[np.float64], f: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Mean cross-entropy and its gradient."""
    z = torch.from_numpy(values[0] * f + values[1])
    error = (torch.sigmoid(z).numpy() - target) / len(f)
    loss = torch.nn.functional.softplus(z).numpy() - target * z.numpy()
    return float(loss.mean()), np.array([(error * f).sum(), error.sum()])

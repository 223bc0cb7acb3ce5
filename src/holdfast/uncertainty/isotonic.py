"""Isotonic regression."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.models.maps import Lines
from holdfast.uncertainty.checks import check, check_classes


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """The growing function of each class's probability that is nearest to what was so, then renormalise.

    Fitted by scikit-learn, one class against all others; straight lines between the levels, as there, where the source
    has steps. Each class's own order stays, but predictions may change.
    Source: Zadrozny & Elkan 2002, KDD; to several classes as Guo et al. 2017, arXiv:1706.04599, sec. 4.2.
    """

    name: ClassVar[str] = "isotonic"

    def fit(self, logits: Tensor, labels: Tensor) -> Lines:
        """See `Recalibration.fit`."""
        from sklearn.isotonic import IsotonicRegression

        found, y = check(logits, labels)
        classes = found.shape[1]
        check_classes(y, classes, self.name)
        p = found.softmax(1).numpy()
        knots = []
        for k in range(classes):
            line = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p[:, k], (y == k).double().numpy())
            knots.append((torch.as_tensor(line.X_thresholds_), torch.as_tensor(line.y_thresholds_)))
        made = Lines(classes, max(2, *(len(places) for places, _ in knots)))
        for k, (places, heights) in enumerate(knots):
            for row, values in ((made.places[k], places), (made.heights[k], heights)):
                row[: len(values)] = values
                row[len(values) :] = values[-1]
        return made

"""Leave out what is doubtful: risk against coverage, and from which confidence on a wanted risk is kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import DataError
from holdfast.uncertainty.checks import check_count, check_share


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Share of errors among the most confident k of N pictures, for k = 1 to N."""

    coverage: Tensor  # (N,) float64, k / N
    risk: Tensor  # (N,) float64

    @property
    def area(self) -> float:
        """AURC: the mean risk over all coverages; 0 is best, and the error rate is what random confidence has."""
        return float(self.risk.mean())

    @property
    def excess(self) -> float:
        """The area less that of the best order, all errors last."""
        wrong = round(float(self.risk[-1]) * len(self.risk))
        k = torch.arange(1, len(self.risk) + 1, dtype=torch.float64)
        return self.area - float(((k - (len(k) - wrong)).clamp_min(0) / k).mean())


def risk_coverage(confidence: Tensor, right: Tensor) -> RiskCoverage:
    """The risk-coverage curve of `confidence` (N,) floating, larger where surer, and `right` (N,) bool.

    Pictures of one confidence count as in the mean over their orders, so that the order given does not matter.
    Raises: `DataError` for NaN, no picture, or other shapes. Cost: no model call.
    Source: El-Yaniv & Wiener 2010, JMLR 11; the area: Geifman, Uziel & El-Yaniv 2019, arXiv:1805.08206.
    """
    surest, wrong = _ordered(confidence, right)
    n = len(surest)
    _, group, size = surest.unique_consecutive(return_inverse=True, return_counts=True)
    first = size.cumsum(0) - size
    errors = torch.zeros(len(size), dtype=torch.float64).index_add_(0, group, wrong)
    before = errors.cumsum(0) - errors
    k = torch.arange(1, n + 1, dtype=torch.float64)
    share = (k - first[group]) / size[group]
    return RiskCoverage(k / n, (before[group] + share * errors[group]) / k)


@dataclass(frozen=True)
class Threshold:
    """Answer only where the confidence is above `above`: then the risk is at most `bound`, but for a chance `delta`.

    `above` is minus infinity where all may be answered. On the pictures it was chosen by: `accepted` of `n`, `wrong` of
    those.
    """

    above: float
    bound: float
    delta: float
    accepted: int
    wrong: int
    n: int

    def accepts(self, confidence: Tensor) -> Tensor:
        """(N,) bool, which are answered."""
        return confidence > self.above


def threshold(
    confidence: Tensor, right: Tensor, *, risk: float, delta: float = 0.05, candidates: int = 20
) -> Threshold | None:
    """The threshold with the largest coverage whose risk is at most `risk`, with probability 1 - `delta`; None if none.

    The guarantee is over the draw of these N pictures, for new pictures of the same kind, at any N. Candidates are the
    confidences right below the surest N j / M pictures, j = 1 to M = `candidates`, and minus infinity for j = M. Given
    the one at a rank, the pictures above it are independent draws of what it accepts, so Clopper and Pearson's upper
    bound at level delta / M holds for each, and the union bound for all M at once: whichever is taken.
    Args: `confidence` (N,) floating, `right` (N,) bool. Raises: `OptionError` for a risk or delta outside (0, 1).
    Source: cf. Geifman & El-Yaniv 2017, arXiv:1705.08500, sec. 3, who search by halving; here ranks are fixed
    beforehand, so that nothing depends on the course of a search.
    """
    check_share("threshold", "risk", risk)
    check_share("threshold", "delta", delta)
    check_count("threshold", "candidates", candidates)
    surest, wrong = _ordered(confidence, right)
    n = len(surest)
    for j in range(candidates, 0, -1):
        rank = n * j // candidates
        above = -torch.inf if rank == n else float(surest[rank])
        taken = surest > above
        accepted, errors = int(taken.sum()), int(wrong[taken].sum())
        bound = upper(errors, accepted, delta / candidates)
        if bound <= risk:
            return Threshold(above, bound, delta, accepted, errors, n)
    return None


def upper(wrong: int, n: int, delta: float) -> float:
    """The largest risk under which as few as `wrong` errors in `n` happen with probability `delta`; 1 for n = 0.

    Source: Clopper & Pearson 1934, Biometrika 26(4), one-sided.
    """
    from scipy.stats import beta

    return 1.0 if wrong >= n else float(beta.ppf(1 - delta, wrong + 1, n - wrong))


def _ordered(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence, largest first, and errors as numbers beside it."""
    if confidence.ndim != 1 or confidence.shape != right.shape or right.dtype != torch.bool or not len(right):
        raise DataError(
            f"confidence of shape {tuple(confidence.shape)} and right of {tuple(right.shape)}, {right.dtype}; allowed: "
            "(N,) numbers and (N,) bool, N >= 1."
        )
    if bool(confidence.isnan().any()):
        raise DataError(f"{int(confidence.isnan().sum())} of {len(right)} scores are NaN; allowed: numbers. Mend them.")
    order = confidence.argsort(descending=True, stable=True)
    return confidence[order].double().cpu(), (~right[order]).double().cpu()

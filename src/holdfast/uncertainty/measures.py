"""How far confidence is from accuracy, and proper scores, from logits and labels alone."""

import torch
from torch import Tensor

from holdfast.uncertainty.bins import BINS, Bins, equal_mass, equal_width
from holdfast.uncertainty.checks import check


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> Bins:
    """The table behind a reliability diagram: the largest probability of each picture, and whether it was right.

    Args: `logits` (N, K) floating; `labels` (N,) int64 in [0, K). Raises: as `uncertainty.check`.
    """
    return equal_width(*confidence(*check(logits, labels)), bins)


def ece(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: the mean over pictures of |confidence - accuracy| of the bin they are in.

    Bins of one width, each closed on the right, with confidence 1 in the last and 0 in the first.
    Arguments and errors as `reliability`; the result is in [0, 1].
    Source: Naeini, Cooper & Hauskrecht 2015, AAAI; in this form Guo et al. 2017, arXiv:1706.04599, sec. 2.
    """
    return expected(reliability(logits, labels, bins))


def mce(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Maximum calibration error: the largest |confidence - accuracy| of a bin with pictures; bins as in `ece`.

    A bin with few pictures decides it by chance: look at the counts. Source: as `ece`.
    """
    return float(reliability(logits, labels, bins).gap.abs().max())


def adaptive_ece(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """`ece` with bins that have as many pictures each (`equal_mass`), so that no bin is decided by a few.

    Source: cf. Nixon et al. 2019, arXiv:1904.01685 (adaptive calibration error), there over all classes; here, as with
    `ece`, over the class that is said.
    """
    return expected(equal_mass(*confidence(*check(logits, labels)), bins))


def classwise_ece(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """The mean over classes of the calibration error of each class's own probability, over all pictures.

    Source: Kull et al. 2019, arXiv:1910.12656, sec. 2 (classwise-ECE); bins as in `ece`.
    """
    found, y = check(logits, labels)
    p = found.softmax(1)
    return sum(expected(equal_width(p[:, k], y == k, bins)) for k in range(p.shape[1])) / p.shape[1]


def nll(logits: Tensor, labels: Tensor) -> float:
    """Negative log-likelihood: the mean of -log p of the label, in nats."""
    return float(surprises(*check(logits, labels)).mean())


def brier(logits: Tensor, labels: Tensor) -> float:
    """Brier score: the mean of the squared distance between probabilities and label, over all classes; in [0, 2].

    Source: Brier 1950, Monthly Weather Review 78(1). For two classes it is twice what is computed from one of them.
    """
    return float(distances(*check(logits, labels)).mean())


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of pictures whose largest logit is the label's; of equal ones the first counts."""
    found, y = check(logits, labels)
    return float((found.argmax(1) == y).double().mean())


def confidence(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) the largest probability, and (N,) bool whether that class is the label."""
    best = logits.argmax(1, keepdim=True)
    # The class of the largest logit: where probabilities round to the same number, the first of them may be another.
    return logits.softmax(1).gather(1, best).squeeze(1).clamp(0, 1), best.squeeze(1) == y


def expected(bins: Bins) -> float:
    """The gaps of bins, weighed by their pictures."""
    return float((bins.weight * bins.gap.abs()).sum())


def surprises(logits: Tensor, y: Tensor) -> Tensor:
    """(N,) -log p of the label."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


def distances(logits: Tensor, y: Tensor) -> Tensor:
    """(N,) squared distance of the probabilities from the label."""
    return (logits.softmax(1) - torch.nn.functional.one_hot(y, logits.shape[1])).square().sum(1)

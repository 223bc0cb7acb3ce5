"""Losses that only training needs, as pure functions of logits: one number a picture, to be made small.

Everywhere: `logits` (N, K) float32 or float64, K >= 2; `y`, `y1` and `y2` (N,) int64 in [0, K); results (N,) in the
logits' dtype, finite with finite gradients for logits up to a third of the dtype's largest number in size. Nothing
raises here: shapes and class numbers are checked where they enter. No model call.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["hinge", "jensen_shannon", "mixed_cross_entropy", "mixed_log_likelihood", "smoothed_cross_entropy"]


def mixed_log_likelihood(logits: Tensor, y1: Tensor, y2: Tensor, share: Tensor) -> Tensor:
    """-log(a p(y1) + (1-a) p(y2)), in nats, with p the softmax and a = `share` (N,) in [0, 1], that of `y1`.

    It is content with a model that is sure of either label. Never above `mixed_cross_entropy`, as -log is convex; equal
    where a is 0 or 1, or both labels are the same.
    """
    first, second = _log_likelihoods(logits, y1, y2)
    return -torch.logaddexp(share.log() + first, torch.log1p(-share) + second)


def mixed_cross_entropy(logits: Tensor, y1: Tensor, y2: Tensor, share: Tensor) -> Tensor:
    """-a log p(y1) - (1-a) log p(y2), in nats, with a = `share` (N,) in [0, 1], that of `y1`.

    Least where the model gives `y1` the probability a and `y2` the rest.
    Source: Zhang et al. 2018, arXiv:1710.09412, sec. 2: the cross-entropy of the mixed labels.
    """
    first, second = _log_likelihoods(logits, y1, y2)
    return -(share * first + (1 - share) * second)


def smoothed_cross_entropy(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy, in nats, of a label of which the share `smoothing`, in [0, 1], is spread over all K classes alike.

    The label's own class has 1 - smoothing + smoothing / K.
    Source: Szegedy et al. 2016, arXiv:1512.00567, sec. 7.
    """
    return functional.cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)


def hinge(logits: Tensor, y: Tensor, margin: float = 1.0) -> Tensor:
    """The sum over the other classes j of max(0, f_j - f_y + margin), in logit units, as is `margin`.

    0 once the label's logit is in front of every other by the margin. The slope at the kink is 0.
    Source: Weston & Watkins 1999, the multi-class support vector machine.
    """
    own = logits.gather(1, y[:, None])
    short = (logits - own + margin).relu()
    return short.scatter(1, y[:, None], 0).sum(1)


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """How far several answers about one picture are from each other, in nats: 0 where all agree, at most log(n).

    The mean of the Kullback-Leibler divergences of each answer's softmax to their mixture; `logits` are n tensors
    (N, K). The mixture is made of logarithms, so that it needs no bound to stay away from 0.
    Source: Hendrycks et al. 2020, arXiv:1912.02781, eq. 1 and 2, with the clean and two mixed versions, times 12.
    """
    logs = torch.stack([each.log_softmax(1) for each in logits])  # (n, N, K)
    mixture = logs.logsumexp(0) - math.log(len(logs))
    return (logs.exp() * (logs - mixture)).sum(2).mean(0)


def _log_likelihoods(logits: Tensor, y1: Tensor, y2: Tensor) -> tuple[Tensor, Tensor]:
    """Log of the softmax probability of either label, each (N,)."""
    logs = logits.log_softmax(1)
    return logs.gather(1, y1[:, None]).squeeze(1), logs.gather(1, y2[:, None]).squeeze(1)

"""Losses as pure functions of logits: one number a picture, gradients finite for finite logits.

Everywhere: `logits` (N, K) float32 or float64, K >= 2; `y` and `target` (N,) int64 in [0, K); results (N,) in the
logits' dtype. Nothing raises here: shapes and class numbers are checked where they enter. No model call.
"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "cross_entropy",
    "dlr",
    "kl_divergence",
    "log_odds",
    "logit_difference",
    "margin",
    "probability_margin",
    "targeted_dlr",
]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Minus the log of the softmax probability of `y`, in nats: large when `y` is unlikely."""
    return functional.cross_entropy(logits, y, reduction="none")


def kl_divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p || q) of the softmax q of `others` from the softmax p of `logits`, in nats.

    Both (N, K); at least 0, and 0 where they agree. Differentiable in both.
    """
    return functional.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="none", log_target=True).sum(1)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Own logit minus the largest other one: positive while the prediction is right, in logit units.

    Source: cf. f6 of Carlini & Wagner 2017, arXiv:1608.04644, sec. V.A; there squashed at 0 and for a target class.
    """
    return _logit(logits, y) - logits.scatter(1, y[:, None], -torch.inf).amax(1)


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """Log of p / (1 - p), p the softmax probability of `y`: above 0 where `y` is likelier than all others together.

    Between the margin and the margin less log(K - 1). It falls as the cross-entropy rises, and where that rounds to 0
    it still tells pictures apart.
    """
    return _logit(logits, y) - logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)


def probability_margin(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """Softmax probability of the likeliest other class, or of `target`, minus that of `y`: in [-1, 1].

    Above 0 the prediction is wrong. Between the extremes it has the cross-entropy's sense of what is near to change and
    the margin's of what a success is; where the softmax saturates its gradient vanishes.
    Source: arXiv:2411.15210 (probability margin attack), untargeted.
    """
    probability = logits.softmax(1)
    if target is None:
        return -margin(probability, y)
    return logit_difference(probability, y, target)


def logit_difference(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Logit of `target` minus logit of `y`: positive once `target` is preferred to `y`, in logit units."""
    return _logit(logits, target) - _logit(logits, y)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Difference of logits ratio: minus the margin over the gap between the largest and the third largest logit.

    Larger is closer to misclassified; above 0 the prediction is wrong, and right predictions lie in [-1, 0].
    Unchanged when the logits are shifted, or scaled by a positive number.
    Fallback: with K = 2 there is no third logit; the gap is then largest minus smallest, and a constant for the
    gradient: the ratio is +1 or -1 whatever the input, so its own gradient would be zero everywhere.
    Equal logits: a gap of 0 counts as the square of the dtype's epsilon, in logit units.
    Source: Croce & Hein 2020, arXiv:2003.01690, eq. 6.
    """
    top = logits.topk(min(3, logits.shape[1])).values
    gap = top[:, 0] - top[:, -1]
    return -margin(logits, y) / _divisor(gap if logits.shape[1] >= 3 else gap.detach())


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """Targeted DLR: logit of `target` minus logit of `y`, over largest minus the mean of third and fourth largest.

    Larger is closer to `target`. Unchanged when the logits are shifted, or scaled by a positive number.
    Fallback: with K = 2 or 3 the divisor is largest minus smallest logit, and a constant for the gradient, which
    else vanishes wherever `y` and `target` are those two.
    Equal logits: a divisor of 0 counts as the square of the dtype's epsilon, in logit units.
    Source: Croce & Hein 2020, arXiv:2003.01690, eq. 7.
    """
    top = logits.topk(min(4, logits.shape[1])).values
    if logits.shape[1] >= 4:
        gap = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    else:
        gap = (top[:, 0] - top[:, -1]).detach()
    return logit_difference(logits, y, target) / _divisor(gap)


def _logit(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)


def _divisor(gap: Tensor) -> Tensor:
    """Away from zero, by so little that quotient and gradient stay finite and every real gap is left alone."""
    return gap.clamp_min(torch.finfo(gap.dtype).eps ** 2)

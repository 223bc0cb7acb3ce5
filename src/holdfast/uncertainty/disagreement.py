"""What the members of an ensemble say together, and how far they contradict each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.models.ensemble import log_of_mean


@dataclass(frozen=True)
class Disagreement:
    """Uncertainty about each of n pictures, in nats; `total` = `data` + `model`."""

    mean: Tensor  # (n, K) float64, the mean of the members' probabilities
    total: Tensor  # (n,) predictive entropy: of that mean
    data: Tensor  # (n,) mean entropy of the members, which more pictures to train on would not take away
    model: Tensor  # (n,) mutual information of class and member: what they contradict each other in


def disagreement(logits: Tensor) -> Disagreement:
    """Split the uncertainty of an ensemble into that of the data and that of the model.

    Args: `logits` (M, n, K) of the members, as `Ensemble.members(x)` gives them. `model` is the mean divergence of the
    members from their mean, each term of which is no less than 0, so that it does not drown in rounding where members
    agree: in [0, log M].
    Raises: `OptionError` for another shape, or for logits that are NaN or +infinity.
    Cost: no model call.
    Source: Depeweg et al. 2018, arXiv:1710.07283.
    """
    if logits.ndim != 3 or not len(logits):
        raise OptionError(f"disagreement: logits of shape {tuple(logits.shape)}; allowed: (M, n, K) of M members.")
    if not bool((logits < torch.inf).all()):
        raise OptionError(
            "disagreement: logits that are NaN or infinite; allowed: numbers. See which member they are of."
        )
    logs = logits.double().log_softmax(-1)
    together = log_of_mean(logs)
    return Disagreement(together.exp(), entropy(together), entropy(logs).mean(0), divergence(logs, together))


def divergence(logs: Tensor, together: Tensor) -> Tensor:
    """The mutual information (n,) of class and member: logs of members' probabilities (M, n, K), and of their mean."""
    apart: Tensor = (logs.exp() * (logs - together).nan_to_num(0.0, neginf=0.0)).sum(-1).mean(0)
    return apart.clamp_min(0)


def entropy(logits: Tensor) -> Tensor:
    """The entropy of softmax probabilities over the last axis, in nats; a probability of 0 adds nothing."""
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs.nan_to_num(0.0, neginf=0.0)).sum(-1)


@dataclass(frozen=True)
class Mixture:
    """Mean and variance of an equal mixture of Gaussians; `variance` = `data` + `model`."""

    mean: Tensor  # (n, ...)
    variance: Tensor  # (n, ...)
    data: Tensor  # (n, ...) the mean of the members' variances
    model: Tensor  # (n, ...) the variance of their means


def mixture(means: Tensor, variances: Tensor) -> Mixture:
    """What M regressors say together, each of which answers with a mean and a variance.

    Args: `means` and `variances` (M, n, ...), the latter no less than 0; zeros for regressors that say no variance.
    By the law of total variance: the mean of the variances plus the variance (over M, not M - 1) of the means.
    Raises: `OptionError` for shapes that differ or a variance below 0.
    Source: Lakshminarayanan, Pritzel & Blundell 2017, arXiv:1612.01474, sec. 2.4; there as the mean square less the
    square of the mean, which loses the digits where means are large.
    """
    if means.shape != variances.shape or not len(means):
        raise OptionError(
            f"mixture: means {tuple(means.shape)}, variances {tuple(variances.shape)}; allowed: (M, n, ...) "
            "of M members for both."
        )
    if not bool((variances >= 0).all()):
        raise OptionError(
            "mixture: a variance that is below 0 or NaN; allowed: no less than 0. Pass variances, not logs."
        )
    data, model = variances.mean(0), means.var(0, unbiased=False)
    return Mixture(means.mean(0), data + model, data, model)

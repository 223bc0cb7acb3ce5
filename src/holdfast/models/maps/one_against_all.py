"""From a probability a class, each fitted against all others, to logits."""

import torch
from torch import Tensor

FLOOR = 1e-6  # a class that was never seen in its bin still gets this, else its logarithm would be no number


def against_all(q: Tensor, dtype: torch.dtype) -> Tensor:
    """Logarithms of (N, K) numbers in [0, 1], raised to `FLOOR` and divided by their sum in each row.

    Source: Guo et al. 2017, arXiv:1706.04599, sec. 4.2 (extension to several classes, after Zadrozny & Elkan 2002);
    the floor is ours.
    """
    raised = q.clamp_min(FLOOR).log()
    return (raised - raised.logsumexp(1, keepdim=True)).to(dtype)

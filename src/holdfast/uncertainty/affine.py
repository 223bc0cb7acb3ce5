"""The least negative log-likelihood of an affine function of logits, for vector and matrix scaling."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.models.maps import Affine

OPTIONS = {"maxiter": 1000, "gtol": 1e-8, "ftol": 1e-13}  # of L-BFGS


def fitted(
    logits: Tensor,
    y: Tensor,
    *,
    full: bool,
    off_diagonal: float = 0.0,
    intercept: float = 0.0,
    start: Affine | None = None,
) -> Affine:
    """Weight and bias by L-BFGS from `start` or the identity, in float64; the problem is convex.

    Adds `off_diagonal` times the mean square of the weights off the diagonal, and `intercept` times that of the biases.
    """
    from scipy.optimize import minimize

    made = Affine(logits.shape[1], full=full)
    data, target = logits.numpy(), torch.nn.functional.one_hot(y, logits.shape[1]).double().numpy()
    begun = made if start is None else start
    first = np.concatenate([begun.weight.flatten().numpy(), begun.bias.numpy()])
    arguments = (data, target, off_diagonal, intercept)
    found = minimize(_loss, first, args=arguments, jac=True, method="L-BFGS-B", options=OPTIONS)
    split = made.weight.numel()
    best = torch.from_numpy(np.array(found.x, dtype=np.float64))
    made.weight.copy_(best[:split].view_as(made.weight))
    made.bias.copy_(best[split:])
    return made


def _loss(
    values: NDArray[np.float64],
    data: NDArray[np.float64],
    target: NDArray[np.float64],
    off_diagonal: float,
    intercept: float,
) -> tuple[float, NDArray[np.float64]]:
    """The loss and its gradient, both of the flat weight and bias."""
    n, classes = data.shape
    weight, bias = values[:-classes], values[-classes:]
    full = len(weight) > classes
    matrix = weight.reshape(classes, classes) if full else weight
    z = (data @ matrix.T if full else data * matrix) + bias
    z = z - z.max(1, keepdims=True)
    grown = np.exp(z)
    total = grown.sum(1, keepdims=True)
    error = (grown / total - target) / n
    loss = float((np.log(total).sum() - (z * target).sum()) / n)
    of_weight: NDArray[np.float64] = error.T @ data if full else (error * data).sum(0)
    if full and off_diagonal:
        aside = matrix * (1 - np.eye(classes)) / (classes * (classes - 1))
        loss += off_diagonal * float((aside * matrix).sum())
        of_weight = of_weight + 2 * off_diagonal * aside
    loss += intercept * float(np.square(bias).mean())
    return loss, np.concatenate([of_weight.ravel(), error.sum(0) + 2 * intercept * bias / classes])


def check_penalty(name: str, **given: Any) -> None:
    """Raises: `OptionError` unless each is a finite number of at least 0."""
    for option, value in given.items():
        if not 0 <= value < float("inf"):
            raise OptionError(f"{name}: {option}={value!r}; allowed: finite numbers >= 0. Pass 0 for none.")

"""Errors counted on fresh inputs, of weights from a few samples, beside the closed forms for these weights."""

import math
from typing import Any

import torch

from holdfast.attacks import FGSM, run
from holdfast.reproduce.toys.linear import Linear
from holdfast.reproduce.toys.more_data.forms import MoreData, robust_error, standard_error
from holdfast.threats import Linf

BOX = 1e4  # the inputs have no bounds; an attack wants some


def counted(settings: MoreData, n: int, seed: int) -> dict[str, Any]:
    """Errors on fresh inputs of weights from n samples, beside the closed forms for these weights."""
    d, eps = settings.counted, settings.eps
    sigma, theta = settings.sigma(d), torch.ones(d, dtype=torch.float64)
    noise = torch.Generator().manual_seed(1000 * seed + n)
    w = theta + sigma * torch.randn(n, d, generator=noise, dtype=torch.float64).mean(0)  # the mean of y x
    # In units of the noise, so that no answer is so sure that its gradient rounds to zero; signs stay as they are.
    model = Linear(w / (sigma * w.norm()))
    y = torch.arange(settings.tests) % 2
    wrong = [0, 0]
    for some in y.split(1000):
        drawn = torch.randn(len(some), d, generator=noise, dtype=torch.float64)
        x = ((2 * some - 1)[:, None] * theta + sigma * drawn).view(-1, 1, 1, d)
        found = run(FGSM(), model, x, some, Linf(eps=eps, low=-BOX, high=BOX), seed=seed, batch=len(x))
        wrong = [wrong[0] + int(found.start_wrong.sum()), wrong[1] + int(found.success.sum())]
    forms = standard_error(w, theta, sigma), robust_error(w, theta, sigma, eps)
    rates = [count / settings.tests for count in wrong]
    off = [deviation(rate, form, settings.tests) for rate, form in zip(rates, forms)]
    keys = ("standard", "robust", "standard_form", "robust_form", "standard_off", "robust_off")
    return dict(zip(keys, (*rates, *forms, *off), strict=True))


def deviation(rate: float, form: float, n: int) -> float:
    """By how many standard errors a counted rate of n is off the form; the last count that fits is no deviation."""
    return max(abs(rate - form) - 1 / n, 0.0) / math.sqrt(max(form * (1 - form), 1 / n) / n)

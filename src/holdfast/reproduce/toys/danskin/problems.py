"""Losses whose inner maximum is known, with the gradient of that maximum on paper."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, PGD, Attack
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.options import option
from holdfast.reproduce.toys.linear import Linear
from holdfast.threats import L2, Linf

BOX = 1e3  # the inputs have no bounds; an attack wants some


@dataclass(frozen=True, kw_only=True)
class Danskin:
    """Losses log(1 + e^z) whose inner maximum is known: z a linear or a quadratic function of the input.

    Source: Danskin's theorem; its use for training, Madry et al. 2018, arXiv:1706.06083, sec. 2.2 and appendix A.
    """

    d: int = option(20, "values of an input")
    inputs: int = option(64, "of whose losses the mean is taken")
    eps: float = option(0.3, "radius of the inner maximum")
    steps: tuple[int, ...] = option(
        (1, 2, 5, 10, 20, 50, 100, 200), "of the inner attack, for the plot; the last for the table"
    )

    def __post_init__(self) -> None:
        if not (self.eps > 0 and self.d >= 1 and self.inputs >= 1 and self.steps and min(self.steps) >= 1):
            raise OptionError(f"{self!r}: allowed: eps > 0, the others whole numbers from 1. Leave them as they are.")


class Bowl(nn.Module):
    """Logits 0 and -||x - theta||^2 / 2."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 1, D) to (N, 2)."""
        value = -0.5 * (x.flatten(1) - self.theta).square().sum(1)
        return torch.stack([torch.zeros_like(value), value], 1)


@dataclass(frozen=True)
class Problem:
    """A model with inputs, a threat, an attack of so many steps, and the gradient of the maximum on paper."""

    model: nn.Module
    x: Tensor  # (N, 1, 1, D) float64
    y: Tensor  # (N,) int64
    threat: Linf | L2
    attack: Callable[[int], Attack]
    known: Callable[["Problem"], Tensor]  # of the mean maximum, all parameters in a row


def line(settings: Danskin, seed: int, threat: Linf | L2) -> Problem:
    """Logistic loss of a linear model: the maximum is reached against the steepest direction of the weights."""
    drawn = _drawn(settings, seed)
    y = torch.arange(settings.inputs) % 2
    model = Linear(drawn[0])
    x = drawn[1:].view(-1, 1, 1, settings.d)
    # Steps as long as the radius: a ball's edge is walked along in ever shorter ways.
    return Problem(model, x, y, threat, lambda steps: PGD(steps=steps, step_size=1.0), gradient_of_line)


def bowl(settings: Danskin, seed: int, threat: Linf | L2) -> Problem:
    """A quadratic with its top at theta: the maximum is reached at the point of the ball nearest to it."""
    drawn = 0.5 * _drawn(settings, seed)
    model = Bowl(drawn[0])
    x = drawn[1:].view(-1, 1, 1, settings.d)
    y = torch.zeros(settings.inputs, dtype=torch.int64)
    if isinstance(threat, L2):
        return Problem(model, x, y, threat, lambda steps: PGD(steps=steps, step_size=1.0), gradient_of_bowl)
    # Some values have their best place inside the box: steps of one length would swing around it.
    return Problem(model, x, y, threat, lambda steps: APGD(steps=steps), gradient_of_bowl)


def gradient_of_line(problem: Problem) -> Tensor:
    """Of mean log(1 + exp(-m)), m = s <w, x> - eps ||w||_*, s = +-1, with respect to w."""
    model = problem.model
    assert isinstance(model, Linear)
    w = model.w.detach()
    s, x, eps = (2 * problem.y - 1).double(), problem.x.flatten(1), float(problem.threat.eps)
    dual, direction = (w.abs().sum(), w.sign()) if isinstance(problem.threat, Linf) else (w.norm(), w / w.norm())
    weight = torch.sigmoid(-(s * (x @ w) - eps * dual))  # minus the slope of log(1 + exp(-m))
    return (weight[:, None] * (eps * direction - s[:, None] * x)).mean(0)


def gradient_of_bowl(problem: Problem) -> Tensor:
    """Of mean log(1 + exp(z)), z = -(distance of theta from the ball)^2 / 2, with respect to theta."""
    model = problem.model
    assert isinstance(model, Bowl)
    away, eps = model.theta.detach() - problem.x.flatten(1), float(problem.threat.eps)
    if isinstance(problem.threat, Linf):
        rest = away.sign() * (away.abs() - eps).clamp(min=0)
    else:
        size = away.norm(dim=1, keepdim=True)
        rest = away * (1 - eps / size).clamp(min=0)
    weight = torch.sigmoid(-0.5 * rest.square().sum(1))
    return -(weight[:, None] * rest).mean(0)


CASES: dict[str, Callable[[Danskin, int], Problem]] = {
    "line in Linf, PGD": lambda settings, seed: line(settings, seed, _linf(settings)),
    "line in L2, PGD": lambda settings, seed: line(settings, seed, _l2(settings)),
    "quadratic in L2, PGD": lambda settings, seed: bowl(settings, seed, _l2(settings)),
    "quadratic in Linf, Auto-PGD": lambda settings, seed: bowl(settings, seed, _linf(settings)),
}


def _linf(settings: Danskin) -> Linf:
    return Linf(eps=settings.eps, low=-BOX, high=BOX)


def _l2(settings: Danskin) -> L2:
    return L2(eps=settings.eps, low=-BOX, high=BOX)


def shrinking(settings: Danskin) -> Problem:
    """One input whose label holds, but not within eps: w is 0.1 everywhere, x is eps / 5 everywhere, y = +1."""
    x = torch.full((1, 1, 1, settings.d), settings.eps / 5, dtype=torch.float64)
    model, y = Linear(torch.full((settings.d,), 0.1, dtype=torch.float64)), torch.ones(1, dtype=torch.int64)
    return Problem(model, x, y, _linf(settings), lambda steps: PGD(steps=steps, step_size=1.0), gradient_of_line)


def _drawn(settings: Danskin, seed: int) -> Tensor:
    """(1 + N, D) float64 standard normal: parameters first, then inputs."""
    count = settings.inputs + 1
    return Draws(seed, torch.arange(count)).normal(torch.zeros(count, settings.d, dtype=torch.float64))

"""Danskin's theorem: the gradient at the inner maximiser is the gradient of the maximum, and nowhere else is it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import APGD, PGD, Attack, run
from holdfast.drawing.charts import Line, lines
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.options import option, to_plain
from holdfast.reproduce.bench import Bench
from holdfast.reproduce.part import Part
from holdfast.reproduce.table import Column, Ordering, Plot, Row, Table, judged, row
from holdfast.threats import L2, Linf

GROUP = "S6 Danskin's theorem"
ERROR, COSINE = "error of the gradient", "slope of the maximum along the step"
BOX = 1e3  # the inputs have no bounds; an attack wants some
LEAST = "line in Linf, at the point of least loss"


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


class Linear(nn.Module):
    """Logits 0 and <w, x>."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 1, D) to (N, 2)."""
        value = x.flatten(1) @ self.w
        return torch.stack([torch.zeros_like(value), value], 1)


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


def measure(bench: Bench, settings: Danskin) -> Table:
    """The four problems, and the one where it fails."""
    asked = to_plain(settings)
    parts: dict[str, list[Part]] = {}
    for name, made in CASES.items():

        def work(seed: int, _: Path, made: Any = made) -> Mapping[str, Any]:
            return compared(made(settings, seed), settings.steps, seed)

        place = f"danskin/{name.replace(', ', '-').replace(' ', '-').lower()}"
        parts[name] = bench.each_seed(place, asked, work)
    parts[LEAST] = bench.each_seed("danskin/least", asked, lambda seed, _: at_the_least_point(settings, seed))
    rows = []
    for name, some in parts.items():
        form = {ERROR: 0.0, COSINE: -1.0}
        if name == LEAST:
            form = {ERROR: fmean(part.found["error_form"] for part in some), COSINE: 1.0}
        rows.append(row(name, some, {ERROR: "error", COSINE: "slope"}, published=form, group=GROUP))
    columns = (
        Column(ERROR, "relative", "distance of the gradient from that of the maximum, over the latter's length"),
        Column(
            COSINE,
            "share of the steepest",
            "change of the maximum, found by attack, along a short step against the gradient: -1 is steepest descent, "
            "above 0 the step makes things worse",
        ),
    )
    return Table(columns, tuple(rows), _orderings(rows), (_plot(parts, settings),))


def compared(problem: Problem, steps: Sequence[int], seed: int) -> dict[str, Any]:
    """The relative error of the gradient at what the attack finds, by steps; the slope along it for the most steps."""
    known = problem.known(problem)
    course = []
    for count in steps:
        found = gradient_at(problem, maximiser(problem, count, seed))
        course.append(float((found - known).norm() / known.norm()))
    return {"error": course[-1], "course": course, "slope": slope(problem, found, steps[-1], seed)}


def maximiser(problem: Problem, steps: int, seed: int) -> Tensor:
    """The points of highest loss that the attack finds."""
    attack = problem.attack(steps)
    found = run(attack, problem.model, problem.x, problem.y, problem.threat, seed=seed, aim="highest_loss")
    return found.x_adv


def gradient_at(problem: Problem, points: Tensor) -> Tensor:
    """Of the mean loss at fixed points with respect to the parameters, all in a row."""
    parameters = list(problem.model.parameters())
    loss = cross_entropy(problem.model(points), problem.y)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])


def slope(problem: Problem, gradient: Tensor, steps: int, seed: int) -> float:
    """Of the mean maximum, sought anew, against `gradient` of size 1, in units of the steepest slope: in [-1, 1]."""
    step, direction = 1e-3, gradient / gradient.norm()
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            _move(problem.model, -sign * step * direction)
            points = maximiser(problem, steps, seed)
            ends.append(float(cross_entropy(problem.model(points), problem.y)))
            _move(problem.model, sign * step * direction)
    return (ends[0] - ends[1]) / (2 * step) / float(problem.known(problem).norm())


def _move(model: nn.Module, by: Tensor) -> None:
    place = 0
    for parameter in model.parameters():
        parameter.add_(by[place : place + parameter.numel()].view_as(parameter))
        place += parameter.numel()


def shrinking(settings: Danskin) -> Problem:
    """One input whose label holds, but not within eps: w is 0.1 everywhere, x is eps / 5 everywhere, y = +1."""
    x = torch.full((1, 1, 1, settings.d), settings.eps / 5, dtype=torch.float64)
    model, y = Linear(torch.full((settings.d,), 0.1, dtype=torch.float64)), torch.ones(1, dtype=torch.int64)
    return Problem(model, x, y, _linf(settings), lambda steps: PGD(steps=steps, step_size=1.0), gradient_of_line)


def at_the_least_point(settings: Danskin, seed: int) -> dict[str, float]:
    """Where it fails: the gradient at the point of least loss, which an attack on the other label finds.

    The maximum log(1 + exp(-sum w_i x_i + eps ||w||_1)) falls as w shrinks, for eps > x; at x + eps the loss falls
    as w grows. So the step goes the wrong way, straight uphill. The error on paper: both gradients have one value
    everywhere, 4/5 eps sigmoid(4/50 d eps) of the maximum and -6/5 eps sigmoid(-6/50 d eps) at the point.
    """
    problem, steps = shrinking(settings), settings.steps[-1]
    turned = replace(problem, y=1 - problem.y)
    gradient, known = gradient_at(problem, maximiser(turned, steps, seed)), problem.known(problem)
    size = settings.d * settings.eps
    ratio = 1.5 / (1 + math.exp(0.12 * size)) * (1 + math.exp(-0.08 * size))
    return {
        "error": float((gradient - known).norm() / known.norm()),
        "error_form": 1 + ratio,
        "slope": slope(problem, gradient, steps, seed),
    }


def _drawn(settings: Danskin, seed: int) -> Tensor:
    """(1 + N, D) float64 standard normal: parameters first, then inputs."""
    count = settings.inputs + 1
    return Draws(seed, torch.arange(count)).normal(torch.zeros(count, settings.d, dtype=torch.float64))


def _orderings(rows: Sequence[Row]) -> tuple[Ordering, ...]:
    exact = [(one, one.ours[ERROR].mean) for one in rows if one.name != LEAST]
    downhill = {f"{one.name}, slope": one.ours[COSINE].mean for one, _ in exact}
    least = next(one for one in rows if one.name == LEAST)
    return (
        judged(
            "The gradient at the inner maximiser is the gradient of the maximum (relative error below 1e-3).",
            all(error < 1e-3 for _, error in exact),
            {f"{one.name}, error": error for one, error in exact},
        ),
        judged(
            "A step against it is the steepest descent of the maximum (slope -1 within 1e-3).",
            all(abs(value + 1) < 1e-3 for value in downhill.values()),
            downhill,
        ),
        judged(
            "It holds only where the maximum is reached: a step against the gradient elsewhere can raise the maximum.",
            least.ours[COSINE].mean > 0,
            {f"{LEAST}, slope": least.ours[COSINE].mean},
        ),
    )


def _plot(parts: Mapping[str, Sequence[Part]], settings: Danskin) -> Plot:
    series = []
    for style, name in enumerate(CASES):
        course = [fmean(part.found["course"][place] for part in parts[name]) for place in range(len(settings.steps))]
        series.append(Line(name, style, tuple((n, max(error, 1e-16)) for n, error in zip(settings.steps, course))))
    title = "Error of the gradient against steps of the inner attack"
    svg = lines(series, title=title, x_label="steps of the inner attack", log_x=True, log_y=True)
    legend = tuple((one.label, one.style) for one in series)
    return Plot(title, svg, "The nearer the attack comes to the maximum, the nearer the gradient.", legend, GROUP)

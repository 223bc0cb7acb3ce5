"""The gradient at what an attack finds: how far it is from that of the maximum, and where a step along it leads."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import run
from holdfast.reproduce.toys.danskin.problems import Danskin, Problem, shrinking


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

"""How many samples a robust classifier needs, and how that grows with the dimension."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from holdfast.reproduce.toys.more_data.forms import MOST, MoreData, quantile

CHANCE, PERCENT = "samples for better than chance", "samples for 1 % robust error"
LEVELS = {CHANCE: 0.5, PERCENT: 0.01}


def needed(settings: MoreData, d: int, seed: int) -> dict[str, Any]:
    """For each level the n, between whole ones, where the median robust error over many training sets falls below."""
    sigma, theta = settings.sigma(d), torch.ones(d)
    noise = torch.Generator().manual_seed(7919 * seed + d)
    sums = torch.zeros(settings.sets, d)
    course: list[float] = []  # median margin after 1, 2, ... samples
    wanted = max(quantile(level) for level in LEVELS.values())
    while len(course) < MOST and (not course or course[-1] < wanted):
        for one in sums:  # set by set: the noise of all at once is large
            one.add_(torch.randn(d, generator=noise))
        n = len(course) + 1
        w = theta + sigma / n * sums
        margins = (w.sum(1).double() - settings.eps * w.abs().sum(1).double()) / (sigma * w.norm(dim=1).double())
        course.append(float(margins.median()))
    found = {name: crossing(course, quantile(level)) for name, level in LEVELS.items()}
    return {"needed": found, "chance": found[CHANCE], "percent": found[PERCENT], "course": course}


def crossing(course: Sequence[float], level: float) -> float:
    """Where a course over n = 1, 2, ... first reaches `level`, by a straight line between whole numbers.

    1.0 if it begins there. inf if it never does.
    """
    for place, value in enumerate(course):
        if value >= level:
            before = course[place - 1] if place else value
            return place + (level - before) / (value - before) if value > before else float(place + 1)
    return math.inf


def slope(dimensions: Sequence[int], needs: Sequence[float]) -> float:
    """Of log n against log d, by least squares."""
    return float(np.polyfit(np.log(dimensions), np.log(needs), 1)[0])

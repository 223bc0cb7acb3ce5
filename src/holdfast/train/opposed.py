"""The adversary's part in a step: how strong it is by now, which pictures it moves, and where to."""

import torch
from torch import Tensor, nn

from holdfast.errors import ModelError
from holdfast.threats import Rendered, Threat
from holdfast.train.course import Course, Moment
from holdfast.train.finite import diverged, finite_on
from holdfast.train.walk import Walk


def strength(course: Course, now: Moment) -> float:
    """The share of its radius that the adversary has by now."""
    options = course.options
    return min(1.0, now.share(options) / options.warm_up) if options.warm_up else 1.0


def share(course: Course, count: int) -> int:
    """How many of so many pictures are attacked; which ones is chance, as the batch is shuffled."""
    return max(1, round(course.options.mix * count)) if count else 0


def threat_of(course: Course, now: Moment) -> Threat | None:
    """The adversary's first threat, as wide as it is by now."""
    adversary = course.recipe.adversary
    if adversary is None or isinstance(adversary.threat, Rendered):
        return None
    found: Threat = adversary.threat.with_eps(strength(course, now) * adversary.threat.eps)
    return found


def attacked(model: nn.Module, x: Tensor, y: Tensor, place: Tensor, course: Course, now: Moment) -> Tensor:
    """The batch with its adversarial share moved, as many times as there are copies of it."""
    adversary, part = course.recipe.adversary, strength(course, now)
    if adversary is None:
        return x
    if not part or not len(x):
        return torch.cat([x] * adversary.copies)
    count, seed = share(course, len(x)), course.key(now.epoch, "attack")
    few, rest = x[:count], x[count:]
    try:
        moved = adversary.harden(model, few, y[:count], place[:count], seed=seed, strength=part)
    except ModelError as error:
        # When an earlier step has ruined the weights, the attack is the first to notice.
        if not finite_on(model, few):
            raise diverged(course.options, str(now)) from error
        raise
    if not len(rest):
        return moved
    return torch.cat([piece for one in moved.split(count) for piece in (one, rest)])


def begun(x: Tensor, y: Tensor, place: Tensor, course: Course, now: Moment) -> Walk:
    """The batch with its adversarial share at the start of an attack that goes on between replays."""
    assert course.recipe.adversary is not None
    count, seed = share(course, len(x)), course.key(now.epoch, "attack")
    part = strength(course, now)
    climb = course.recipe.adversary.walk(x[:count], y[:count], place[:count], seed=seed, strength=part)
    return Walk(climb, x[count:])

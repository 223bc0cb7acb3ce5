"""What comes back from the model: four types, each with all that the ones before it have."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from holdfast.lanes import map_lanes, take


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The points that were asked about, the predicted class of each, and whether the lane's goal is reached there."""

    points: Tensor  # (P, C, H, W)
    labels: Tensor  # (P,) int64
    reached: Tensor  # (P,) bool
    lane: Tensor | None = None  # (P,) int64 as in the query; None: one point a lane, in order


@dataclass(frozen=True, kw_only=True)
class Scores(Labels):
    """The logits too."""

    logits: Tensor  # (P, K)


@dataclass(frozen=True, kw_only=True)
class Gradient(Scores):
    """The objectives and their gradients too."""

    losses: tuple[Tensor, ...]  # each (P,)
    gradients: tuple[Tensor, ...]  # each like the points

    @property
    def loss(self) -> Tensor:
        """The first objective, (P,)."""
        return self.losses[0]

    @property
    def gradient(self) -> Tensor:
        """The gradient of the first objective, like the points."""
        return self.gradients[0]


@dataclass(frozen=True, kw_only=True)
class Jacobian(Scores):
    """The gradients of the logits, or of the differences of logits, that were asked for."""

    jacobian: Tensor  # (P, M, C, H, W)


Answer = Labels | Scores | Gradient | Jacobian
Some = TypeVar("Some", bound=Labels)
Of = TypeVar("Of", bound=Scores)


def averaged(first: list[Of], further: Iterable[list[Of]]) -> list[Of]:
    """One answer to each of some questions that were asked several times: the mean of all numbers.

    The goal counts as reached where it was each time; the label is that of the mean logits. The times are summed as
    they come, so that no more than two are kept.
    """
    total, times = first, 1
    for answers in further:
        total, times = map_lanes(plus, total, answers), times + 1
    if times == 1:
        return first
    means = map_lanes(lambda part: part / times if part.is_floating_point() else part, total)
    asked = (one.points for one in first)  # and not their mean, which is rounded
    return [replace(mean, points=x, labels=mean.logits.argmax(1)) for mean, x in zip(means, asked, strict=True)]


def plus(a: Tensor, b: Tensor) -> Tensor:
    """The sum of numbers; of two truths whether both hold; what merely names lanes stays."""
    if a.is_floating_point():
        return a + b
    return a & b if a.dtype == torch.bool else a


def keep_lanes(answer: Some, kept: Tensor) -> Some:
    """The answer of the lanes in the mask `kept` (lanes,) bool, lanes numbered anew from 0."""
    if answer.lane is None:
        return take(answer, kept)
    number = torch.cumsum(kept, 0) - 1
    points = kept[answer.lane]
    rest = {f.name: take(getattr(answer, f.name), points) for f in fields(answer) if f.name != "lane"}
    return replace(answer, lane=number[answer.lane[points]], **rest)

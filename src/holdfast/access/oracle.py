"""The only place where a model under attack is called."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.access.borrow import Model
from holdfast.access.meter import Meter
from holdfast.access.query import Objective, View
from holdfast.errors import ModelError
from holdfast.lanes import join, take

Rendering = Callable[[Tensor, Tensor], Tensor]
"""From points (P, ...) and the numbers (P,) of their pictures to pictures made of them, (P, C, H, W)."""


@dataclass(frozen=True)
class Refusal:
    """That a model may refuse to answer, by a class more: for an attacker as good as the right answer."""

    refused: int  # the last class
    label: Tensor  # (N,) int64, of each picture

    def merged(self, logits: Tensor, picture: Tensor) -> Tensor:
        """Logits (P, K) of which the label's is the larger of its own and that of refusal, from (P, K + 1)."""
        label = self.label[picture][:, None]
        safe = torch.maximum(logits.gather(1, label), logits[:, self.refused :])
        return logits[:, : self.refused].scatter(1, label, safe)


@dataclass(frozen=True)
class Part:
    """Points that share their objectives; parts of several attacks go to the model as one batch."""

    points: Tensor  # (P, C, H, W)
    picture: Tensor  # (P,) int64, whom the pass is counted for
    goal: Any = None  # a tree with one row a point, handed to the objectives
    objectives: tuple[Objective, ...] = ()
    classes: Tensor | None = None  # (P, M) int64
    against: Tensor | None = None  # (P,) int64
    view: View | None = None  # a tree with a row a point: how the model gets to see them; None as they are

    def taken(self, points: Tensor) -> "Part":
        """Some of the points, by index; the objectives are not lanes and stay whole."""
        rows = take((self.points, self.picture, self.goal, self.classes, self.against, self.view), points)
        return Part(*rows[:3], self.objectives, *rows[3:])

    def seen(self, points: Tensor) -> Tensor:
        """What the model is shown of these points of the part, with their gradient."""
        return points if self.view is None else self.view(points)


class Oracle:
    """Answers parts in batches of at most `batch` points and counts every pass on `meter`.

    Wrap it to change what an attacker learns (averaging over random transformations, a straight-through step);
    attacks and engine do not notice.

    A model that works in place on its input is found out when it is first asked, by the version that torch counts for
    every tensor, and gets copies from then on: what it overwrites are points that the attack still needs.
    With `render` the points are not pictures but what pictures are made of; gradients are with respect to them.
    With `refusal` all learn of the model's answer as if to be refused were to be answered rightly, so that no attack
    needs to know of it; but for objectives that say so by `whole`, which are given all logits.
    """

    def __init__(
        self,
        model: Model,
        batch: int,
        meter: Meter,
        render: Rendering | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        self.model, self.batch, self.meter, self.render, self.refusal = model, batch, meter, render, refusal
        self._nothing = torch.empty(0)  # the logits of no points, once the model has answered
        self._in_place: bool | None = None  # whether the model writes to its input, once it has been asked

    def scores(self, part: Part) -> Tensor:
        """Logits (P, K) without a gradient: one forward pass a point."""
        with torch.no_grad():
            return torch.cat([self._forward(piece) for piece in self._pieces(part)])

    def refuses(self, part: Part) -> Tensor:
        """(P,) bool: where a model with a class of refusal gives that answer. One forward pass a point."""
        assert self.refusal is not None
        found = []
        with torch.no_grad():
            for piece in self._pieces(part):
                self.meter.count(piece.picture)
                answer = self._ask(piece.seen(self._rendered(piece.points, [piece])))
                found.append(answer.argmax(1) == self.refusal.refused)
        return torch.cat(found)

    def gradients(self, parts: Sequence[Part]) -> list[tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]]:
        """For each part its logits, losses and gradients: one forward pass a point, one backward an objective.

        All parts must have equally many objectives.
        """
        if sum(len(part.points) for part in parts) <= self.batch:
            return self._gradients(parts)
        found = []
        for part in parts:
            pieces = [self._gradients([piece])[0] for piece in self._pieces(part)]
            found.append(join(pieces))
        return found

    def jacobian(self, part: Part) -> tuple[Tensor, Tensor]:
        """Logits (P, K) and gradients (P, M, C, H, W) of the logits in `part.classes`: M backward passes a point.

        With `part.against`, of what each of them is above the logit of that class.
        """
        return join([self._jacobian(piece) for piece in self._pieces(part)])

    def _pieces(self, part: Part) -> Iterator[Part]:
        if len(part.points) <= self.batch:
            yield part
            return
        # Of one length each, since a small rest costs more a point.
        pieces = math.ceil(len(part.points) / self.batch)
        for points in torch.arange(len(part.points), device=part.points.device).tensor_split(pieces):
            yield part.taken(points)

    def _forward(self, part: Part) -> Tensor:
        if not len(part.points):
            return self._nothing  # many a model cannot take an empty batch
        self.meter.count(part.picture)
        logits = self._seen(self._ask(part.seen(self._rendered(part.points, [part]))), [part])
        self._nothing = logits[:0]
        return logits

    def _gradients(self, parts: Sequence[Part]) -> list[tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]]:
        (passes,) = {len(part.objectives) for part in parts}
        points = torch.cat([part.points for part in parts]) if len(parts) > 1 else parts[0].points
        sizes = [len(part.points) for part in parts]
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            logits = self._ask(views(self._rendered(points, parts), parts, sizes))
            rows, whole = split(self._seen(logits, parts), sizes), split(logits, sizes)
            losses = [
                tuple(f(whole[i] if sees_all(f) else rows[i], part.goal) for f in part.objectives)
                for i, part in enumerate(parts)
            ]
            # Pictures do not mix in evaluation mode, so the gradient of the sum holds each picture's own.
            totals = [sum_of([loss[k] for loss in losses]) for k in range(passes)]
        for part in parts:
            self.meter.count(part.picture, sum(total.requires_grad for total in totals))
        found = [gradient(total, points, retain=k + 1 < passes) for k, total in enumerate(totals)]
        gradients = [split(one, sizes) for one in found]
        return [
            (
                rows[i].detach(),
                tuple(v.detach() for v in losses[i]),
                tuple(g[i] for g in gradients),
            )
            for i in range(len(parts))
        ]

    def _jacobian(self, part: Part) -> tuple[Tensor, Tensor]:
        assert part.classes is not None
        wanted = part.classes.shape[1]
        with torch.enable_grad():
            points = part.points.detach().requires_grad_()
            logits = self._seen(self._ask(part.seen(self._rendered(points, [part]))), [part])
            wholes = logits.gather(1, part.classes)
            if part.against is not None:
                wholes = wholes - logits.gather(1, part.against[:, None])
            totals = [whole.sum() for whole in wholes.unbind(1)]
        self.meter.count(part.picture, sum(total.requires_grad for total in totals))
        rows = [gradient(total, points, retain=m + 1 < wanted) for m, total in enumerate(totals)]
        return logits.detach(), torch.stack(rows, 1)

    def _rendered(self, points: Tensor, parts: Sequence[Part]) -> Tensor:
        """The pictures that the points of some parts stand for: themselves, but where they are parameters."""
        return points if self.render is None else self.render(points, torch.cat([part.picture for part in parts]))

    def _seen(self, logits: Tensor, parts: Sequence[Part]) -> Tensor:
        """What is learnt of the model's answer."""
        if self.refusal is None:
            return logits
        return self.refusal.merged(logits, torch.cat([part.picture for part in parts]))

    def _ask(self, points: Tensor) -> Tensor:
        """The model's answer to points that it must not change; it gets a copy unless it is known to leave them be."""
        given = points if self._in_place is False else points.clone()
        version = given._version
        logits = checked(self.model(given), len(points))
        changed = given._version != version
        if changed and given is points:
            raise ModelError(
                "the model changes its input in place, though it did not when first asked; allowed: leaving it as it "
                "is. Write `x = x.clamp(0, 1)` for `x.clamp_(0, 1)`, or copy x first."
            )
        self._in_place = self._in_place or changed
        return logits


def views(points: Tensor, parts: Sequence[Part], sizes: list[int]) -> Tensor:
    """The points of several parts as the model is shown them; the very tensor where all are shown as they are."""
    if all(part.view is None for part in parts):
        return points
    return torch.cat([part.seen(rows) for part, rows in zip(parts, split(points, sizes), strict=True)])


def split(values: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    """Rows of `values` in parts of these sizes; a single part is the tensor itself, which spares two calls a round."""
    return torch.split(values, sizes) if len(sizes) > 1 else [values]


def sees_all(objective: Objective) -> bool:
    """Whether an objective is given the logits with that of refusal; said by `whole = True`."""
    return bool(getattr(objective, "whole", False))


def sum_of(values: Sequence[Tensor]) -> Tensor:
    """The sum of all elements of all tensors."""
    return (values[0] if len(values) == 1 else torch.cat(list(values))).sum()


def gradient(total: Tensor, points: Tensor, retain: bool = False) -> Tensor:
    """d total / d points; zero where the model cuts the graph, so that a dead gradient is seen and reported."""
    if not total.requires_grad:
        return torch.zeros_like(points)
    (found,) = torch.autograd.grad(total, points, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(points) if found is None else found


def checked(logits: Any, points: int) -> Tensor:
    """The model's answer, if it is float (points, K) with K >= 2; raises `ModelError` otherwise."""
    given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != points or logits.shape[1] < 2:
        raise ModelError(
            f"the model answered {points} pictures with {given}; allowed: a float tensor ({points}, K), K >= 2. "
            "Wrap the model so that it returns one row of logits a picture (two columns for a yes/no model)."
        )
    if not logits.is_floating_point():
        raise ModelError(
            f"the model answered with {logits.dtype}; allowed: floating-point logits. Return scores, not labels."
        )
    return logits

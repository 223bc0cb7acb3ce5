"""A model that counts what each picture costs, keeps the smallest change seen of it, and falls silent past a cap."""

import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks.record import within
from holdfast.threats import NORMS, Threat


class Exhausted(Exception):
    """No picture may cost any more: nothing that an attack does from here on can change what was found."""


class Tracked(nn.Module):
    """`model` on the pictures `x` (N, C, H, W) in [0, 1] with labels `y`, watched at query time.

    Every row of a forward pass counts one pass for its picture, and so does every row of each backward pass. Points
    are clamped into the box first; gradients go through the clamp unchanged, or a value that rounding put past an edge
    would get none. A point that is misclassified, with finite logits, counts as found then and there, whatever the
    attack returns: `smallest` holds the size of the nearest one in every norm, each on its own.

    A picture that has cost `cap` passes, forward and backward together, gets logits that favour its label by 1 and a
    gradient of zero; that costs it nothing and the model is not asked. Once that holds for all, `Exhausted` is raised.

    With a `threat` the first success inside it is what is sought: `first` holds the forward pass of its picture it was,
    from 1, rows of that picture that came before it in the same call included, and infinity until there is one. From
    the next call on that picture is treated like one that has spent its cap.

    Which picture a row belongs to: the one at its place, if there are N rows and at least half of them are nearest to
    the picture at their place; else the nearest, in L2 or the threat's norm. Where that is wrong, since a change is
    larger than half the way to another picture, what is recorded is still a true change of the picture it is recorded
    for: the sizes stay valid, only passes are charged to the wrong account.

    `bookkeeping`: CPU seconds spent on all this, to be taken off an attack's.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, cap: int | None = None, threat: Threat | None = None
    ) -> None:
        super().__init__()
        self.model, self.x, self.y, self.cap, self.threat = model, x, y, cap, threat
        self.forward_passes = torch.zeros(len(x), dtype=torch.int64)
        self.backward_passes = torch.zeros(len(x), dtype=torch.int64)
        self.smallest = {name: torch.full((len(x),), torch.inf, dtype=torch.float64) for name in NORMS}
        self.first = torch.full((len(x),), torch.inf, dtype=torch.float64)
        self.bookkeeping = 0.0
        self.out_of_place = 0  # rows that were matched to a picture at another place
        with torch.no_grad():
            self.classes = model(x[:1]).shape[1]

    @property
    def passes(self) -> Tensor:
        """(N,) int64: forward and backward together."""
        return self.forward_passes + self.backward_passes

    def forward(self, points: Tensor) -> Tensor:
        """The model's answer, or none."""
        begun = time.process_time()
        if not bool(self.affordable(torch.arange(len(self.x))).any()):
            raise Exhausted
        inside = Clamp.apply(points.to(self.x.dtype))  # some libraries ask in float64
        rows = self.pictures_of(inside.detach())
        live = self.affordable(rows)
        number = self.forward_passes[rows] + place_among_equals(rows) + 1
        self.forward_passes.index_add_(0, rows, live.long())
        self.bookkeeping += time.process_time() - begun
        logits = self.answer(inside, rows, live)
        begun = time.process_time()
        self.note(inside.detach(), logits.detach(), rows, live, number)
        if logits.requires_grad:
            logits.register_hook(partial(self.count_backward, rows))
        self.bookkeeping += time.process_time() - begun
        return logits

    def pictures_of(self, points: Tensor) -> Tensor:
        """(P,) int64: the picture each row belongs to."""
        places = torch.arange(len(self.x))
        nearest = self.distances(points.nan_to_num()).argmin(1)
        if len(points) == len(self.x) and 2 * int((nearest == places).sum()) >= len(places):
            self.out_of_place += int((nearest != places).sum())
            return places
        return nearest

    def distances(self, points: Tensor) -> Tensor:
        """(P, N): from each row to each picture."""
        if self.threat is None:
            return torch.cdist(points.flatten(1), self.x.flatten(1))
        return torch.stack([self.threat.size(points - one) for one in self.x], 1)

    def affordable(self, rows: Tensor) -> Tensor:
        """(P,) bool: rows whose picture may cost one pass more, each row before it in this call included."""
        sought = self.first[rows].isinf()
        if self.cap is None:
            return sought
        return sought & (self.passes[rows] + place_among_equals(rows) < self.cap)

    def answer(self, inside: Tensor, rows: Tensor, live: Tensor) -> Tensor:
        """(P, K): the model's logits where live, else the label's."""
        if bool(live.all()):
            logits: Tensor = self.model(inside)
            return logits
        dead = functional.one_hot(self.y[rows], self.classes).to(inside.dtype)
        # Part of the graph, as attacks differentiate it, but with nothing to say.
        silent = torch.where(torch.zeros_like(dead, dtype=torch.bool), inside.flatten(1).sum(1, keepdim=True), dead)
        if not bool(live.any()):
            return silent
        return silent.index_put((live.nonzero().squeeze(1),), self.model(inside[live]))

    def count_backward(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Count a backward pass through an answer; none goes on for pictures that cannot pay."""
        begun = time.process_time()
        live = self.affordable(rows)
        self.backward_passes.index_add_(0, rows, live.long())
        passed = gradient if bool(live.all()) else torch.where(live[:, None], gradient, 0.0)
        self.bookkeeping += time.process_time() - begun
        return passed

    def note(self, points: Tensor, logits: Tensor, rows: Tensor, live: Tensor, number: Tensor) -> None:
        """Keep the sizes of what is misclassified, and which forward pass (P,) of its picture was the first inside."""
        finite = points.flatten(1).isfinite().all(1) & logits.isfinite().all(1)
        found = live & finite & (logits.argmax(1) != self.y[rows])
        if not bool(found.any()):
            return
        delta = points[found].double() - self.x[rows[found]].double()
        for name, kind in NORMS.items():
            self.smallest[name].scatter_reduce_(0, rows[found], kind(eps=0).size(delta).double(), "amin")
        if self.threat is not None:
            inside = within(self.threat, self.threat.size(delta), self.x.dtype)
            self.first.scatter_reduce_(0, rows[found][inside], number[found][inside].double(), "amin")


class Clamp(torch.autograd.Function):
    """Into [0, 1], with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, points: Tensor) -> Tensor:
        """The nearest points of the box."""
        return points.clamp(0.0, 1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """As if nothing had been clamped; in memory of its own, since attacks write to it."""
        return gradient.contiguous()


def place_among_equals(rows: Tensor) -> Tensor:
    """(P,) int64: how many equal values come before each, so that [4, 7, 4, 4] gives [0, 0, 1, 2]."""
    order = rows.argsort(stable=True)
    ordered = rows[order]
    place = torch.arange(len(rows)) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(rows).index_copy_(0, order, place)

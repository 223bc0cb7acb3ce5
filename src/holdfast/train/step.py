"""One step's batch: what is asked of the model once is there for all who want it."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from holdfast.draws import Draws
from holdfast.threats import Threat
from holdfast.train.cut import pieces
from holdfast.train.labels import Labels
from holdfast.train.walk import Walk

PerPicture = Callable[[Tensor, Labels], Tensor]
"""A loss: (logits (N, K), labels) -> (N,)."""


class Penalty(Protocol):
    """What is added to the loss: a frozen record of options.

    It is called once a step and returns (N,), a number a picture, of which the mean over the batch counts. It asks
    `step` for what it needs, and the model by `step.ask`, so that passes are shared, and may leave figures there.
    """

    @property
    def name(self) -> str:
        """As recipes call it."""
        ...

    @property
    def wants_slope(self) -> bool:
        """Whether it differentiates the loss at `step.seen`, which must then be asked about with a gradient."""
        ...

    def __call__(self, step: "Step") -> Tensor:
        """(N,), differentiable in the weights."""
        ...


@dataclass(eq=False)
class Step:
    """A batch on its way through a step. The model is in training mode, its weights want gradients.

    `x` are the pictures as augmented, `seen` those the loss is taken at: the same, or what the adversary made of them.
    Everything else is computed when it is first asked for.
    """

    model: nn.Module
    x: Tensor  # (N, C, H, W)
    labels: Labels
    place: Tensor  # (N,) int64
    seen: Tensor  # (N, C, H, W)
    loss: PerPicture
    seed: int  # of this step; noise is keyed by it and the picture's place
    sloped: bool = False  # whether some will differentiate at `seen`
    ghost: int | None = None  # pictures that batch norm takes together; None: all
    threat: Threat | None = None  # the adversary's, with the radius of this step; None without one on pixels
    walk: Walk | None = None  # moves the pictures between replays
    copies: int = 1  # how often each picture is in the batch, all of them once before any the second time
    largest: Callable[[Tensor], Tensor] = torch.amax  # of a tensor (N,), over the batches of all processes
    whole: int | None = None  # pictures of the batch of all processes; None: these are all
    figures: dict[str, Tensor] = field(default_factory=dict)  # (N,) each: statistics for the record
    known: dict[object, Tensor] = field(default_factory=dict)  # what penalties share

    @property
    def count(self) -> int:
        """Pictures of the batch, those of all processes: what sums are divided by."""
        return len(self.x) if self.whole is None else self.whole

    @cached_property
    def point(self) -> Tensor:
        """`seen`, as the leaf that gradients are taken to."""
        return self.seen.detach().requires_grad_(self.sloped)

    @cached_property
    def logits(self) -> Tensor:
        """(N, K) at `seen`, with a graph: one forward pass."""
        return self.ask(self.point)

    @cached_property
    def losses(self) -> Tensor:
        """(N,) at `seen`, with a graph."""
        return self.loss(self.logits, self.labels)

    @cached_property
    def slope(self) -> Tensor:
        """The gradient of each picture's loss to its pixels, (N, C, H, W), without a graph: one backward pass.

        The pass at `seen` is kept, so that the step to come differentiates it once more and asks nothing anew. With
        batch norm the batch's statistics join the pictures, and it is the gradient of the batch's sum.
        """
        return self.differentiated(create_graph=False)

    def differentiated(self, *, create_graph: bool) -> Tensor:
        """The gradient of the sum of `losses` to the pixels at `seen`; with its own graph where that is asked for."""
        assert self.sloped  # said by `wants_slope`
        (found,) = torch.autograd.grad(self.losses.sum(), self.point, retain_graph=True, create_graph=create_graph)
        return found

    def losses_at(self, x: Tensor) -> Tensor:
        """(N,) at other pictures with the same labels, with a graph: one forward pass."""
        return self.loss(self.ask(x), self.labels)

    def ask(self, x: Tensor) -> Tensor:
        """The model's logits (N, K) of any pictures, with a graph: one forward pass."""
        if self.ghost is None or not len(x):
            logits: Tensor = self.model(x)
            return logits
        return torch.cat([self.model(part) for part in pieces(x, self.ghost)])

    def once(self, key: object, make: Callable[[], Tensor]) -> Tensor:
        """What `make` returned when this key was first asked for: penalties that share a part compute it once."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]

    def draws(self, use: str) -> Draws:
        """Noise for a use of that name: the picture's own, another in each step."""
        return Draws(self.seed, self.place, attack=zlib.crc32(use.encode()))

    def note(self, name: str, values: Tensor) -> None:
        """Leave (N,) for the record, which tells mean and largest of an epoch."""
        self.figures[name] = values.detach()

    def anew(self) -> "Step":
        """The same pictures, the adversary's too, with nothing asked yet: for weights that have moved since."""
        return replace(self, figures={}, known={})

    def again(self) -> "Step":
        """The same pictures a replay later: moved on by the gradient that the step before has left at them."""
        assert self.walk is not None  # a method that replays is prepared with one
        self.walk.go_on(self)
        return replace(self, seen=self.walk.seen, figures={}, known={})

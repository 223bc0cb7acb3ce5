"""LaVAN: a small square beside the object that raises one class and lowers another."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Gradient, Query
from holdfast.attacks.case import Case
from holdfast.attacks.minimal import usable
from holdfast.attacks.options import at_least, positive
from holdfast.lanes import choose, column
from holdfast.losses.objectives import logit_difference
from holdfast.threats import Patch


@dataclass(frozen=True, kw_only=True)
class LaVAN:
    """Climb the target's logit less the label's by the values of a patch, or of what a mask allows.

    Without a target the likeliest other class takes its place. A step goes along the gradient itself, which the patch's
    mean slope brings to a length in widths of the box. In the image domain, a box such as [0, 1], values stay what
    pixels can show; in the network domain the threat states a wider box, and what is found there is no picture.
    A free patch is put where a linear model with the picture's own gradient would lose most, at the first start; at
    restarts, at random. From then on it stays there.
    Cost: `steps` forward and backward passes a lane and a forward pass to look at the last point; where the patch is
    free, one of each more to choose its place.
    Source: Karmon, Zoran & Goldberg 2018, arXiv:1801.02608, sec. 3, algorithm 1: the gradient of one logit less the
    other, the patch beside the object. There a step is a fixed number times the gradient; ours does not hang on the
    model's scale. The choice of the place by the gradient, and untargeted attacks, are ours.
    """

    steps: int = field(default=100, metadata={"help": "gradient evaluations a picture and restart"})
    step_size: float = field(default=0.3, metadata={"help": "mean move of a value of the patch, in widths of the box"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.GRADIENT
    name: ClassVar[str] = "lavan"
    norms: ClassVar[tuple[str, ...]] = ("patch",)
    masks: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1", "l0", "pixels")

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "restarts")
        positive(self, "step_size")

    @property
    def rounds(self) -> int:
        """A gradient to choose the place, `steps` gradients and a last look."""
        return self.steps + 2

    def start(self, case: Case) -> "tuple[Spot, Query]":
        """The picture's own gradient where a place is to be chosen, else random values in the patch."""
        none = torch.zeros(len(case.x), 2, dtype=torch.int64, device=case.x.device)
        if isinstance(case.threat, Patch) and case.threat.free:
            return Spot(none), Query(case.x, gradient_of=logit_difference)
        return Spot(none), Query(case.sample(), gradient_of=logit_difference)

    def step(self, case: Case, at: "Spot", answer: Gradient) -> "tuple[Spot, Query]":
        """One step uphill; before it, of a free patch, to random values at the place of its own."""
        free = isinstance(case.threat, Patch) and case.threat.free
        here = self.fixed(case, at) if free else case
        x_adv = here.project(answer.points + self.move(here, answer.gradient))
        if free:
            fresh = case.round == 1
            chosen = self.chosen(case, answer.gradient)
            at = choose(fresh, chosen, at)
            x_adv = choose(fresh, self.fixed(case, chosen).sample(), x_adv)
        # A patch that has its place needs no question to choose it.
        over = case.round >= (self.steps + 1 if free else self.steps)
        return at, Query(x_adv, gradient_of=logit_difference, over=over)

    def move(self, case: Case, gradient: Tensor) -> Tensor:
        """Along the gradient where values may change, its mean size there in widths of the box."""
        slope = usable(gradient) * (case.limits[1] > case.limits[0])
        count = (slope != 0).flatten(1).sum(1).clamp_min(1)
        mean = (slope.flatten(1).abs().sum(1) / count).clamp_min(torch.finfo(slope.dtype).tiny)
        length = self.step_size * (case.threat.high - case.threat.low)
        moved: Tensor = slope / column(mean, slope) * length
        return moved

    def chosen(self, case: Case, gradient: Tensor) -> "Spot":
        """The place of each lane: where the gradient promises most; of a restart, any."""
        assert isinstance(case.threat, Patch)
        promised = case.threat.placed(case.x, gradient).place
        anywhere = case.threat.scattered(case.x, case.draws).place
        restart = case.draws.restart
        assert isinstance(promised, Tensor)
        assert isinstance(anywhere, Tensor)
        assert restart is not None  # filled in by `Draws` itself
        return Spot(torch.where((restart > 0)[:, None], anywhere, promised))

    def fixed(self, case: Case, at: "Spot") -> Case:
        """The lanes with their patches at their places."""
        assert isinstance(case.threat, Patch)
        threat = replace(case.threat, place=at.place)
        return replace(case, threat=threat, limits=threat.limits(case.x))


@dataclass(frozen=True)
class Spot:
    """Where the patch of each lane lies, if the attack has chosen: row and column of its upper left pixel."""

    place: Tensor  # (L, 2) int64

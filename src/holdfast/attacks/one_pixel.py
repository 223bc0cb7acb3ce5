"""One pixel: which one, and what colour, by differential evolution; scores only."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.access import Access, Query, Scores
from holdfast.attacks.by_scores import heights, least_rise
from holdfast.attacks.case import Case
from holdfast.attacks.options import LossName, at_least, positive
from holdfast.attacks.places import by_place, grid
from holdfast.lanes import take
from holdfast.losses import OBJECTIVES


@dataclass(frozen=True, kw_only=True)
class OnePixel:
    """Breed candidates, each of them a few places with new values: a + F (b - c) of three others is a child.

    A child takes its parent's place if its loss is higher.

    In the threat `pixels` a candidate gives a place all its channels, in `l0` one value of one channel. It begins with
    places at random and colours around the middle of the box; a number that leaves its range is drawn anew.
    Cost: `population` forward passes a generation and lane, no gradient.
    Source: Su, Vargas & Sakurai 2019, arXiv:1710.08864, sec. III.B: 400 candidates, 100 generations, F = 0.5, no
    crossover. The margin in place of a probability; ours where the paper is silent: what leaves its range.
    """

    pixels: int = field(default=1, metadata={"help": "how many change; the threat's radius allows for as many or more"})
    population: int = field(default=400, metadata={"help": "candidates a generation, from 4 up"})
    generations: int = field(default=100, metadata={"help": "how often they are asked about"})
    scale: float = field(default=0.5, metadata={"help": "F: what of the difference of two others is added to a third"})
    loss: LossName = field(default="margin", metadata={"help": "what is ascended"})
    restarts: int = field(default=1, metadata={"help": "how often each picture is attacked anew"})
    access: ClassVar[Access] = Access.SCORES
    name: ClassVar[str] = "one-pixel"
    norms: ClassVar[tuple[str, ...]] = ("pixels", "l0")

    def __post_init__(self) -> None:
        at_least(self, 1, "pixels", "generations", "restarts")
        at_least(self, 4, "population")
        positive(self, "scale")

    @property
    def breadth(self) -> int:
        """How many a lane asks about at once."""
        return self.population

    @property
    def rounds(self) -> int:
        """One a generation."""
        return self.generations

    def start(self, case: Case) -> "tuple[Brood, Query]":
        """The first candidates."""
        sides, channels = grid(case)
        like = case.x.new_empty(()).expand(len(case.x), self.population, self.pixels, len(sides) + channels)
        places = case.draws.uniform(like[..., : len(sides)])
        colours = (case.draws.normal(like[..., len(sides) :], stream=1) / 2 + 0.5).clamp_(0, 1)
        genes = torch.cat([places, colours], -1)
        none = torch.full(genes.shape[:2], -torch.inf, dtype=genes.dtype, device=genes.device)
        return Brood(genes, none, genes), self.question(case, genes)

    def step(self, case: Case, at: "Brood", answer: Scores) -> "tuple[Brood, Query]":
        """Those that are better take their parents' places and all breed."""
        loss = heights(case, answer, OBJECTIVES[self.loss]).view_as(at.loss).to(at.loss)
        better = loss > least_rise(at.loss, answer)
        parents = torch.where(better[..., None, None], at.asked, at.parents)
        children = self.bred(case, parents)
        return Brood(parents, torch.where(better, loss, at.loss), children), self.question(case, children)

    def bred(self, case: Case, parents: Tensor) -> Tensor:
        """a + F (b - c) for three different ones drawn for each child."""
        first, second, third = (
            parents.gather(1, number[..., None, None].expand_as(parents)) for number in self.three(case, parents)
        )
        children = first + self.scale * (second - third)
        inside = (children >= 0) & (children <= 1)
        return torch.where(inside, children, case.draws.uniform(children, stream=3))

    def three(self, case: Case, parents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(L, P) int64 each: three numbers of candidates, no two of them alike."""
        size = self.population
        first, ahead, further = (case.draws.integers(parents[..., 0, 0], size - i, stream=i) for i in range(3))
        ahead, further = 1 + ahead, 1 + (ahead + 1 + further) % (size - 1)
        return first, (first + ahead) % size, (first + further) % size

    def question(self, case: Case, genes: Tensor) -> Query:
        """The pictures that candidates (L, P, pixels, genes) stand for."""
        sides, channels = grid(case)
        lanes, size = genes.shape[:2]
        at = torch.zeros_like(genes[..., 0])
        for number, side in enumerate(sides):
            at = at * side + (genes[..., number] * side).floor().clamp_max_(side - 1)
        place = at.long()[:, :, None].expand(-1, -1, channels, -1)  # (L, P, channels, pixels)
        colour = case.threat.low + (case.threat.high - case.threat.low) * genes[..., len(sides) :]
        points = by_place(case, case.x)[:, None].repeat(1, size, 1, 1)
        for number in range(self.pixels):  # in turn, so that of two at one place the later holds, on any device
            points.scatter_(3, place[..., number : number + 1], colour.transpose(2, 3)[..., number : number + 1])
        points = points.view(lanes * size, *case.x.shape[1:])
        lane = torch.arange(lanes, device=genes.device).repeat_interleave(size)
        return Query(take(case, lane).project(points), lane=lane)


@dataclass(frozen=True)
class Brood:
    """The candidates of a lane, all numbers in [0, 1]: places, then values."""

    parents: Tensor  # (L, P, pixels, genes)
    loss: Tensor  # (L, P) of the parents; -inf before anything was seen
    asked: Tensor  # like the parents: the children that are asked about

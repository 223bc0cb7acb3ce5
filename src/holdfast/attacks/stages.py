"""Stages of an attack, each with a radius and a number of steps, at which every lane is on its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.attacks.case import Case


@dataclass(frozen=True)
class Stages:
    """`factors` of the radius and `steps` of each stage. A stage asks one question more than it has steps."""

    factors: tuple[float, ...]
    steps: tuple[int, ...]

    @property
    def rounds(self) -> int:
        """Questions in all stages."""
        return sum(self.steps) + len(self.steps)

    def look_up(self, question: Tensor, table: Callable[[int], Sequence[int]]) -> Tensor:
        """(L,) int64: the entry of each lane's question, where `table(steps)` has those of a stage's steps + 1."""
        entries = [entry for steps in self.steps for entry in table(steps)]
        return torch.tensor(entries, device=question.device)[question]

    def place(self, question: Tensor) -> Tensor:
        """(L,) int64: how many steps of its stage led to each lane's question."""
        return self.look_up(question, lambda steps: range(steps + 1))

    def left(self, question: Tensor) -> Tensor:
        """(L,) int64: how many steps of its stage follow on each lane's question."""
        return self.look_up(question, lambda steps: range(steps, -1, -1))

    def within(self, case: Case, question: Tensor) -> Case:
        """The lanes with the radius of the stage that each one's question belongs to."""
        if self.factors == (1.0,):
            return case
        factors = [factor for factor, steps in zip(self.factors, self.steps, strict=True) for _ in range(steps + 1)]
        factor = torch.tensor(factors, dtype=case.x.dtype, device=question.device)[question]
        threat = case.threat.with_eps(factor * case.threat.eps)
        return replace(case, threat=threat, limits=threat.limits(case.x))


def any_lane(mask: Tensor) -> bool:
    """Whether a mask (L,) may have a lane: told on a CPU; on a device that one would have to wait for, always."""
    return mask.device.type != "cpu" or bool(mask.any())

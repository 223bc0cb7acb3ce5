"""The interface of a method of adversarial training."""

from typing import Protocol

from torch import Tensor, nn

from holdfast.losses import Objective
from holdfast.train.step import Step


class Method(Protocol):
    """What adversarial pictures are made to climb, and the loss that is taken at them: a frozen record of options."""

    @property
    def name(self) -> str:
        """As recipes call it."""
        ...

    def climbed(self, model: nn.Module, x: Tensor) -> Objective | None:
        """What the inner attack climbs in the place of its own loss, given the batch; None: its own."""
        ...

    def __call__(self, step: Step) -> Tensor:
        """(N,), the loss of each picture, differentiable in the weights; `step.seen` is adversarial."""
        ...

"""The running statistics of batch norm, where several processes each see a part of the batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from holdfast.train.world import World

BATCH_NORM = nn.modules.batchnorm._BatchNorm
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def in_a_row(model: nn.Module, world: World, *, counts: bool = True) -> Iterator[None]:
    """Leave the running statistics that one process has which sees the parts of all, one after the other.

    With `counts` False what happens in this process leaves no trace. Cost: two sums over all processes, of a few
    numbers a channel.
    """
    norms = [] if world.size == 1 else [Norm.of(module) for module in model.modules() if tracks(module)]
    yield
    if not norms:
        return
    taken = torch.stack([norm.taken(counts) for norm in norms])  # (norms,) parts seen here
    table = taken.new_zeros(world.size, len(norms))
    table[world.rank] = taken
    table = world.total(table)
    moved = [part for norm, taken in zip(norms, table.T, strict=True) for part in norm.moved(taken, world.rank)]
    summed = world.total(torch.cat(moved)).split([len(part) for part in moved])
    for norm, taken, mean, variance in zip(norms, table.T, summed[::2], summed[1::2], strict=True):
        norm.put(taken.sum(), mean, variance)


@dataclass(frozen=True)
class Norm:
    """A batch norm and its statistics before a step, which are the same in all processes.

    A part of the batch with statistics b takes r to (1 - m) r + m b; without a momentum m, the n-th to the mean of all
    n. Either way all parts together take r to w r + a sum over the processes, each of which knows its own summand.
    """

    live: tuple[Tensor, Tensor, Tensor]  # mean, variance and number of parts, as the module changes them
    momentum: float | None
    mean: Tensor
    variance: Tensor
    parts: Tensor  # () int64, seen so far

    @classmethod
    def of(cls, module: nn.Module) -> "Norm":
        """As it is now."""
        assert isinstance(module, BATCH_NORM)
        live = cast(tuple[Tensor, Tensor, Tensor], tuple(getattr(module, name) for name in BUFFERS))
        return cls(live, module.momentum, *(buffer.clone() for buffer in live))

    def taken(self, counts: bool) -> Tensor:
        """() float64, the parts seen here since then; what does not count is taken back."""
        if not counts:
            self.put(torch.zeros_like(self.parts), torch.zeros_like(self.mean), torch.zeros_like(self.variance))
        return (self.live[2] - self.parts).double()

    def moved(self, taken: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """The summands of this process, for mean and variance, given the parts (P,) seen by each."""
        mean, variance, _ = self.live
        if self.momentum is None:
            whole = (self.parts + taken.sum()).clamp(min=1)
            own, old = (self.parts + taken[rank]) / whole, self.parts / whole
        else:
            own = (1 - self.momentum) ** taken[rank + 1 :].sum()
            old = own * (1 - self.momentum) ** taken[rank]
        return (own * mean - old * self.mean).to(mean), (own * variance - old * self.variance).to(variance)

    def put(self, taken: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Set the statistics: what is left of those before so many parts, and the sum of what each process adds."""
        if self.momentum is None:
            left = torch.where(taken > 0, self.parts / (self.parts + taken).clamp(min=1), 1.0)
        else:
            left = (1 - self.momentum) ** taken
        after = (left * self.mean + mean, left * self.variance + variance, self.parts + taken)
        for buffer, value in zip(self.live, after, strict=True):
            buffer.copy_(value)


def tracks(module: nn.Module) -> bool:
    """Whether it is a batch norm that keeps running statistics."""
    return isinstance(module, BATCH_NORM) and module.running_mean is not None

"""The processes that train one model together: each takes its part of every batch, and their gradients are added up."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class World(Protocol):
    """What training asks of the others. Every method is called by all processes, in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0; the first one writes files."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def mine(self, rows: Tensor) -> Tensor:
        """The part of a batch that falls to this process."""
        ...

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, element by element."""
        ...

    def largest(self, values: Tensor) -> Tensor:
        """The largest of all processes, element by element."""
        ...

    def add_up(self, gradients: Iterable[Tensor]) -> None:
        """Put in the place of each gradient the sum over all processes."""
        ...

    def share(self, make: Callable[[], T]) -> T:
        """What `make` returned in the first process; the others do not call it, and wait."""
        ...


class Alone:
    """One process, which does everything."""

    rank = 0
    size = 1

    def mine(self, rows: Tensor) -> Tensor:
        """All of it."""
        return rows

    def total(self, values: Tensor) -> Tensor:
        """The values."""
        return values

    def largest(self, values: Tensor) -> Tensor:
        """The values."""
        return values

    def add_up(self, gradients: Iterable[Tensor]) -> None:
        """They are whole."""

    def share(self, make: Callable[[], T]) -> T:
        """What `make` returns."""
        return make()


def largest_of(world: World, values: Tensor) -> Tensor:
    """The largest of the numbers (N,) of a batch's pictures, a scalar, wherever the picture is."""
    local = values.amax() if len(values) else torch.full((), -torch.inf, dtype=values.dtype, device=values.device)
    return world.largest(local)

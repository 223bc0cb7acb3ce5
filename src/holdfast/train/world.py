"""The processes that train one model together: each takes its part of every batch, and their gradients are added up."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from holdfast import processes
from holdfast.errors import RunError
from holdfast.train.cut import pieces

T = TypeVar("T")

BUCKET = 16 * 2**20  # numbers that are added up at once
WINK = 1e-4  # seconds between two questions whether the others are done


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

    def part(self, count: int, unit: int) -> slice:
        """The part of a batch of `count` that falls to this process, in whole units of pictures but for the last one.

        An empty one, where a last batch has fewer units than there are processes.
        """
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
        """What `make` returned in the first process; the others do not call it, and wait.

        For numbers, text, tensors, and lists and dicts of them.
        """
        ...


class Alone:
    """One process, which does everything."""

    rank = 0
    size = 1

    def part(self, count: int, unit: int) -> slice:
        """All of it."""
        return slice(0, count)

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


class Together:
    """This process among those that have met; what they add up is the same to the bit in all of them.

    On a CPU nobody waits for one that has failed: the failure is looked for while waiting. A GPU waits by itself, and
    is ended by the launcher.
    """

    def __init__(self, here: processes.Several, device: torch.device, group: Any) -> None:
        self.rank, self.size = here.rank, here.size
        self._here, self._device, self._group = here, device, group

    def part(self, count: int, unit: int) -> slice:
        """Its units, side by side."""
        units = pieces(torch.arange(count), unit)
        first, end = (len(units) * rank // self.size for rank in (self.rank, self.rank + 1))
        return slice(int(units[first][0]), int(units[end - 1][-1]) + 1) if first < end else slice(0, 0)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        return self._joint("all_reduce", values.detach().clone())

    def largest(self, values: Tensor) -> Tensor:
        """The largest of all processes."""
        return self._joint("all_reduce", values.detach().clone(), torch.distributed.ReduceOp.MAX)

    def add_up(self, gradients: Iterable[Tensor]) -> None:
        """The sums of flat buckets."""
        for bucket in buckets(gradients):
            flat = self._joint("all_reduce", torch.cat([gradient.flatten() for gradient in bucket]))
            for gradient, summed in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(summed.view(gradient.shape))

    def share(self, make: Callable[[], T]) -> T:
        """Agreed upon by its length, where the first one's failure is heard, and then sent as bytes."""
        made: list[tuple[T, bytes]] = []

        def length() -> int:
            value = make()
            made.append((value, packed(value)))
            return len(made[0][1])

        count = self._here.agree(length)
        content = torch.frombuffer(bytearray(made[0][1]), dtype=torch.uint8) if made else torch.empty(count).byte()
        content = self._joint("broadcast", content.to(self._device), 0)
        if made:
            return made[0][0]
        shared: T = torch.load(io.BytesIO(content.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
        return shared

    def _joint(self, what: str, values: Tensor, *given: Any) -> Tensor:
        """The values, after all processes have worked on them."""
        try:
            work = getattr(torch.distributed, what)(values, *given, group=self._group, async_op=True)
            while self._device.type != "cuda" and not work.is_completed():
                sleep(WINK)
                self._here.look()
            work.wait()
        except RuntimeError as error:
            self._here.look(now=True)  # one that failed and has told why
            raise RunError(
                f"rank {self.rank} of {self.size} has lost contact with another one, which was killed or cannot be "
                "reached. Run the same command again with --resume."
            ) from error
        return values


@contextmanager
def world_of(here: processes.Processes, device: torch.device) -> Iterator[World]:
    """What those who work together are for training, in a process group of its own.

    After a failure one of them may still wait there for the others, so that the group is of no use any more.
    """
    if not isinstance(here, processes.Several):
        yield Alone()
        return
    group = torch.distributed.new_group()
    yield Together(here, device, group)
    torch.distributed.destroy_process_group(group)


def buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one type side by side, up to `BUCKET` numbers or a single one."""
    held: list[Tensor] = []
    for gradient in gradients:
        full = sum(one.numel() for one in held) + gradient.numel() > BUCKET
        if held and (full or gradient.dtype != held[0].dtype):
            yield held
            held = []
        held.append(gradient)
    if held:
        yield held


def packed(value: Any) -> bytes:
    """What `torch.load` reads without running code."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def largest_of(world: World, values: Tensor) -> Tensor:
    """The largest of the numbers (N,) of a batch's pictures, a scalar, wherever the picture is."""
    return world.largest(largest(values))


def largest(values: Tensor) -> Tensor:
    """The largest of the numbers (N,) here, a scalar; of none, minus infinity."""
    return values.amax() if len(values) else torch.full((), -torch.inf, dtype=values.dtype, device=values.device)

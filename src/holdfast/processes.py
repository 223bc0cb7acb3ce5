"""Several processes work on one run: who does what, what they tell each other, and how the failure of one ends all.

`torchrun` launches them and Lightning Fabric joins them. What they then have to say is little: which piece of work is
taken, how far each is, whether one failed. It goes through a store of names and values that the first process keeps.
Pictures never leave the process that works on them; what training adds up goes through the process group
(`holdfast.train.world`).
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from itertools import pairwise
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, ClassVar, TypeVar

import torch

from holdfast import ranks
from holdfast.errors import FailedElsewhere, OptionError, RunError

T = TypeVar("T")

PIECE = 4 * 2**20  # bytes; the store takes up to 8 MiB at once
NAP = 0.02  # seconds between two questions of one that waits
GLANCE = 0.5  # seconds between two looks at what the others say
PAUSE = 1.0  # seconds in which every process should have begun its share
BEAT = 2.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without one, after which a process is taken for dead
GRACE = 5.0  # seconds that all have to leave together, so that each can tell its own exit code


class Alone:
    """One process, which does everything: the same methods as `Several`."""

    rank: ClassVar[int] = 0
    size: ClassVar[int] = 1

    def __init__(self) -> None:
        self._told: dict[str, bytes] = {}

    def agree(self, make: Callable[[], T]) -> T:
        """What `make` returns."""
        return make()

    def deal(self, what: str, numbers: Sequence[int]) -> Iterator[int]:
        """All of them."""
        yield from numbers

    def draw(self, what: str, numbers: Sequence[int]) -> Iterator[int]:
        """All of them."""
        yield from numbers

    def tell(self, name: str, content: bytes) -> None:
        """Keep it for `heard`."""
        self._told[name] = content

    def heard(self, name: str) -> bytes | None:
        """What was told under a name, or None."""
        return self._told.get(name)

    def wait_for(self, name: str, waiting: Callable[[], None] = lambda: None) -> bytes:
        """What was told under a name."""
        return self._told[name]

    def done(self, pictures: float) -> float:
        """How many pictures are done."""
        return pictures

    def fails_first(self) -> bool:
        """Whether a failure is to be told here."""
        return True


class Several:
    """This process among others. Methods must be called in the same order by all, but for `tell`, `heard`, `done`.

    Raises, wherever another process is asked: `FailedElsewhere` when one failed, `RunError` when one fell silent.
    """

    def __init__(self, rank: int, size: int, store: Any) -> None:
        self.rank, self.size = rank, size
        self._store = store
        self._agreed = 0
        self._looked = -GLANCE
        self._total = 0.0
        self._first: bool | None = None
        self._signs: dict[int, tuple[bytes, float]] = {}
        self._over = Event()
        self._beat()
        self._thread = Thread(target=self._keep_beating, daemon=True)
        self._thread.start()

    def agree(self, make: Callable[[], T]) -> T:
        """What `make` returned in the first process; in the others it is not called. For what JSON can hold."""
        self._agreed += 1
        if self.rank == 0:
            made = make()
            self.tell("agreed", json.dumps(made).encode())
            return made
        agreed: T = json.loads(self.wait_for("agreed"))
        return agreed

    def deal(self, what: str, numbers: Sequence[int]) -> Iterator[int]:
        """Those of `numbers` that fall to this process: every `size`-th, and then what another is far from reaching.

        What another would do next is left to it, so that a process that was held up for a moment still does its share.
        """
        until = monotonic() + PAUSE
        for number in numbers[self.rank :: self.size]:
            if self._takes(what, number):
                yield number
        for other in range(self.rank + 1, self.rank + self.size):
            for before, number in reversed(list(pairwise(numbers[other % self.size :: self.size]))):
                if not self._reached(what, before, until) and self._takes(what, number):
                    yield number

    def tell(self, name: str, content: bytes) -> None:
        """Let the others know, until the next `agree`; what fits into one piece may be told anew."""
        name = self._named(name)
        pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
        for number, piece in enumerate(pieces):
            self._ask("set", f"{name}#{number}", piece)
        self._ask("set", name, str(len(pieces)))

    def heard(self, name: str) -> bytes | None:
        """What was told under a name by any process, or None if nothing was yet."""
        name = self._named(name)
        if not self._ask("check", [name]):
            return None
        count = int(self._ask("get", name))
        return b"".join(self._ask("get", f"{name}#{number}") for number in range(count))

    def wait_for(self, name: str, waiting: Callable[[], None] = lambda: None) -> bytes:
        """What is told under a name, once it is; `waiting` is called again and again until then."""
        while (content := self.heard(name)) is None:
            sleep(NAP)
            self.look()
            waiting()
        return content

    def done(self, pictures: float) -> float:
        """Say how many pictures are done here; returns how many are in all processes, as far as it is known."""
        if self.look() or not self._total:
            self.tell(f"done {self.rank}", repr(pictures).encode())
            told = [self.heard(f"done {rank}") if self.rank == 0 else None for rank in range(1, self.size)]
            self._total = pictures + sum(float(one) for one in told if one is not None)
        return self._total

    def fails_first(self) -> bool:
        """Whether this process is the first of all to fail, and so the one to tell why."""
        if self._first is None:
            self._first = False
            with suppress(RunError):
                self._first = int(self._ask("add", "failures", 1)) == 1
        return self._first

    def fail(self, error: BaseException) -> None:
        """End the others, and leave with them."""
        if self.fails_first():
            text = str(error).partition("\n")[0] or type(error).__name__
            told = {"rank": self.rank, "text": text, "usage": isinstance(error, OptionError)}
            with suppress(RunError):
                self._ask("set", "failed", json.dumps(told))
        self._leave()

    def part(self) -> None:
        """Wait until all are done."""
        self._ask("add", "over", 1)
        while int(self._ask("add", "over", 0)) < self.size:
            sleep(NAP)
            self.look()
        self._leave()

    def _leave(self) -> None:
        """Go when all can go, the first process last, as the store goes with it; but do not wait for long."""
        limit = monotonic() + GRACE
        self._count("left", self.size, limit)
        self._over.set()
        self._thread.join(BEAT)
        self._count("gone", 0 if self.rank else self.size, limit)

    def _count(self, what: str, enough: int, limit: float) -> None:
        """Add one to a number that all add to, and wait until it is enough."""
        with suppress(RunError):
            count = int(self._ask("add", what, 1))
            while count < enough and monotonic() < limit:
                sleep(NAP)
                count = int(self._ask("add", what, 0))

    def look(self, *, now: bool = False) -> bool:
        """Now and then, raise if another process failed or fell silent; whether this was such a moment."""
        if not now and monotonic() < self._looked + GLANCE:
            return False
        if self._ask("check", ["failed"]):
            told = json.loads(self._ask("get", "failed"))
            raise FailedElsewhere(f"rank {told['rank']} of {self.size} failed: {told['text']}", usage=told["usage"])
        self._listen()
        self._looked = monotonic()
        return True

    def _listen(self) -> None:
        now = monotonic()
        for rank in set(range(self.size)) - {self.rank}:
            sign = self._ask("get", f"beat {rank}")
            if sign != self._signs.get(rank, (b"", 0.0))[0]:
                self._signs[rank] = sign, now
            elif now - self._signs[rank][1] > SILENCE:
                raise RunError(
                    f"rank {rank} of {self.size} has given no sign of life for {SILENCE:.0f} s; it was killed, or its "
                    "machine cannot be reached. Run the same command again with --resume."
                )

    def draw(self, what: str, numbers: Sequence[int]) -> Iterator[int]:
        """Those of `numbers`, which may differ much in their cost, that this process is the first to be free for."""
        for number in numbers:
            if self._takes(what, number):
                yield number

    def _reached(self, what: str, number: int, until: float) -> bool:
        """Whether a number is taken, perhaps after a wait for it."""
        while not (taken := bool(self._ask("check", [self._taken(what, number)]))) and monotonic() < until:
            sleep(NAP)
        return taken

    def _takes(self, what: str, number: int) -> bool:
        self.look()
        return int(self._ask("add", self._taken(what, number), 1)) == 1

    def _taken(self, what: str, number: int) -> str:
        return self._named(f"taken {what} {number}")

    def _named(self, name: str) -> str:
        return f"{self._agreed} {name}"

    def _beat(self) -> None:
        self._ask("add", f"beat {self.rank}", 1)

    def _keep_beating(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(RunError):  # told by the main thread, if it matters
                self._beat()

    def _ask(self, method: str, *given: Any) -> Any:
        try:
            return getattr(self._store, method)(*given)
        except RuntimeError as error:
            raise RunError(
                f"rank {self.rank} of {self.size} has lost contact with rank 0, which was killed or cannot be reached. "
                "Run the same command again with --resume."
            ) from error


Processes = Alone | Several

_here: ContextVar[Several | None] = ContextVar("processes", default=None)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that were launched together with this one, met and, at the end, left together.

    `device` is that of the model: NCCL joins GPUs, gloo everything else. One process alone is merely itself; within
    another `joined`, the same processes are given. An error that leaves the block ends all of them.
    Raises: `OptionError` for fewer GPUs than processes on a machine; `RunError` when the others cannot be reached.
    """
    met = _here.get()
    if met is not None or ranks.size() == 1:
        yield met or Alone()
        return
    several = _meet(device)
    token = _here.set(several)
    try:
        yield several
        several.part()
    except BaseException as error:
        several.fail(error)
        raise
    finally:
        _here.reset(token)


def placed(device: torch.device) -> torch.device:
    """The device of this process: each of several on one machine has a GPU of its own; where they have met, it is said.

    Raises: `OptionError` for one GPU that all of them would share, and where there are too few.
    """
    if device.type != "cuda" or ranks.size() == 1 or _here.get() is not None:
        return device
    if device.index is not None:
        raise OptionError(
            f"device {str(device)!r} for {ranks.size()} processes; allowed: auto, cuda or cpu. Each takes its own GPU."
        )
    if torch.cuda.device_count() < ranks.local_size():
        raise OptionError(
            f"{ranks.local_size()} processes on a machine with {torch.cuda.device_count()} GPUs; allowed: one a GPU. "
            f"Launch fewer, --nproc-per-node {torch.cuda.device_count()}, or compute on the processor: --device cpu."
        )
    return torch.device("cuda", ranks.local_rank())


def _meet(device: torch.device) -> Several:
    from torch.distributed import TCPStore

    try:
        fabric = _fabric("cuda" if device.type == "cuda" else "cpu")
        host, patience = os.environ["MASTER_ADDR"], timedelta(seconds=SILENCE)
        mine = TCPStore(host, 0, None, True, patience, False) if fabric.global_rank == 0 else None
        port = fabric.broadcast(mine.port if mine else 0)
        store = mine or TCPStore(host, port, None, False, patience)
    except RuntimeError as error:
        raise RunError(
            f"{ranks.named()} cannot reach the others: {str(error).splitlines()[0]}. All processes must run the same "
            "command; check --rdzv-endpoint, and that no firewall is between the machines."
        ) from error
    return Several(fabric.global_rank, fabric.world_size, store)


@cache
def _fabric(accelerator: str) -> Any:
    """Lightning Fabric, with the process group up. It takes seconds to load, so only several processes do."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets at length
    local = ranks.local_size()
    if ranks.size() % local:
        raise OptionError(f"{ranks.size()} processes, {local} of them here; allowed: the same number on each machine.")
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=ranks.size() // local,
        strategy="ddp",
        plugins=[TorchElasticEnvironment()],
    )
    fabric.launch()
    return fabric

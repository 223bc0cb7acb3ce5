"""Which of several processes this one is, as `torchrun` says in the environment. Needs no torch."""

import os

NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def size() -> int:
    """How many processes were launched together; 1 for one on its own."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in NEEDED) else 1


def rank() -> int:
    """The number of this one among all, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if size() > 1 else 1


def local_rank() -> int:
    """The number of this one among those on this machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if size() > 1 else 0


def named() -> str:
    """This process as messages name it."""
    return f"rank {rank()} of {size()}"

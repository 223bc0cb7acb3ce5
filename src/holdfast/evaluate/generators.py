"""The random numbers that a model itself draws."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, work: str, device: torch.device) -> Iterator[None]:
    """Torch's own generators, seeded for a piece of work named `work`, and given back as found.

    So a model that draws from them answers alike whenever the piece is done again, in whatever order and process.
    Those of NumPy and of the model's own are its owner's. Holds for the CPU and for `device`.
    """
    number = zlib.crc32(f"{seed} {work}".encode())
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(number)
        for each in devices:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(number)
        yield

"""The global random generators: seeded for a piece of work, and given back as found."""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, work: str, device: torch.device) -> Iterator[None]:
    """Torch's own generators, seeded for a piece of work named `work`, and given back as found.

    So a model that draws from them answers alike whenever the piece is done again, in whatever order and process.
    Those of NumPy and of the model's own are its owner's. Holds for the CPU and for `device`.
    """
    with _torch_seeded(zlib.crc32(f"{seed} {work}".encode()), device):
        yield


@contextmanager
def all_seeded(seed: int, name: str, place: Tensor, device: torch.device) -> Iterator[None]:
    """Seed the generators that libraries draw from, those of torch, NumPy and `random`; give them back as they were.

    The seed is made of `seed`, the attack's `name` and the pictures' `place` (N,) int64, so that the same pictures
    get the same numbers in a resumed run. A generator that a library seeds by the clock is out of reach.
    """
    import numpy as np

    number = zlib.crc32(f"{seed} {name}".encode() + place.cpu().numpy().tobytes())
    python, numeric = random.getstate(), np.random.get_state()
    with _torch_seeded(number, device):
        random.seed(number)
        np.random.seed(number)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numeric)


@contextmanager
def _torch_seeded(number: int, device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        # Not `torch.manual_seed`: it would seed the devices that are not put back.
        torch.default_generator.manual_seed(number)
        for each in devices:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(number)
        yield

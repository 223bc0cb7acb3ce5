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
    with torch_seeded(zlib.crc32(f"{seed} {work}".encode()), device):
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
    with torch_seeded(number, device):
        random.seed(number)
        np.random.seed(number)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numeric)


@contextmanager
def torch_seeded(number: int, device: torch.device) -> Iterator[None]:
    """Torch's generators of the CPU and of `device` seeded with a number, and given back as found."""
    # Not `torch.manual_seed`, which would seed devices that are not put back; nor `fork_rng`, which looks for devices.
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.init()  # there are no generators before
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(number)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)

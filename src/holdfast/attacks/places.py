"""The places of a picture that sparse attacks change: pixels, or single values, as the threat counts them."""

import torch
from torch import Tensor

from holdfast.attacks.case import Case
from holdfast.draws import Draws


def grid(case: Case) -> tuple[tuple[int, ...], int]:
    """The sides of the grid of places, and how many values each has: pixels with all channels, or single values."""
    shape = tuple(case.x.shape[1:])
    if case.threat.name == "pixels" and len(shape) > 1:
        return shape[1:], shape[0]
    return shape, 1


def by_place(case: Case, x: Tensor) -> Tensor:
    """Pictures (L, ...) as (L, values of a place, places)."""
    return x.reshape(len(x), grid(case)[1], -1)


def random_sides(case: Case, draws: Draws) -> Tensor:
    """Like the pictures: every value at one side of the box or the other, to the bit. Uses stream 1."""
    up = draws.signs(case.x, stream=1) > 0
    return torch.where(up, case.threat.high, case.threat.low).to(case.x)

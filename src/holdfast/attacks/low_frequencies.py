"""Random directions of low frequency, in which boundaries of picture classifiers bend least."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from holdfast.attacks.case import Case


def directions(case: Case, slots: int, share: float, stream: int = 0) -> Tensor:
    """(L, slots, C, H, W) random directions of length 1 from the `share` of lowest frequencies each way.

    Random signs as coefficients of the cosine transform (DCT-II) over height and width; a share of 1, or inputs that
    are no pictures, take the values themselves. Cost: no model call.
    """
    shape = case.x.shape[1:]
    if share >= 1 or len(shape) != 3:
        signs = case.draws.signs(case.x[:, None].expand(-1, slots, *shape), stream)
        return signs.div_(math.prod(shape) ** 0.5)
    high, wide = (max(1, round(share * side)) for side in shape[1:])
    like = case.x.new_empty(()).expand(len(case.x), slots, shape[0], high, wide)
    signs = case.draws.signs(like, stream).div_((shape[0] * high * wide) ** 0.5)
    rows, columns = (waves(side, most).to(case.x) for side, most in ((shape[1], high), (shape[2], wide)))
    return torch.einsum("ha,lscab,wb->lschw", rows, signs, columns)


@lru_cache(maxsize=16)
def waves(side: int, most: int) -> Tensor:
    """(side, most): the first waves of the cosine transform as columns of length 1, square to each other."""
    place, wave = torch.arange(side, dtype=torch.float64)[:, None], torch.arange(most, dtype=torch.float64)
    made = torch.cos(math.pi / side * (place + 0.5) * wave)
    return made / made.square().sum(0).sqrt()

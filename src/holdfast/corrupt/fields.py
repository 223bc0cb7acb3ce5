"""Random fields and 8-bit levels that several corruptions share.

Fields are float32 whatever the pictures are, so that pictures of any dtype are spoilt by the same noise.
"""

import math

import torch
from torch import Tensor

from holdfast.draws import Draws

LEVELS = 255
SLACK = 2.0**-10  # of a level: so that a whole level that rounding left a little too low is not cut to the next


def uniform(draws: Draws, *shape: int, stream: int = 0) -> Tensor:
    """(N, *shape) float32, uniform on the multiples of 2^-24 in [0, 1).

    Two numbers of each word of random bits, as the hash costs more than all that follows.
    """
    count, lanes = math.prod(shape), len(draws.picture)
    words = draws.bits(torch.empty((lanes, -(-count // 2)), device=draws.picture.device), stream)
    halves = words.view(torch.int32)[:, :count]
    return (halves >> 8).bitwise_and_(2**24 - 1).to(torch.float32).mul_(2.0**-24).view(lanes, *shape)


def normal(draws: Draws, *shape: int, stream: int = 0) -> Tensor:
    """(N, *shape) float32, standard normal, at most 5.4 in size.

    A uniform number of 24 bits through the inverse of the distribution: a tenth of the time of `draws.normal`.
    """
    # Half a step further, so that the ends of the range, whose inverse is infinite, are left out.
    middle = uniform(draws, *shape, stream=stream).mul_(2).add_(torch.finfo(torch.float32).eps / 2 - 1)
    return torch.erfinv(middle).mul_(math.sqrt(2))


def between(draws: Draws, low: float, high: float, *shape: int, stream: int = 0) -> Tensor:
    """(N, *shape) float64, uniform from `low` to `high`."""
    return low + (high - low) * uniform(draws, *shape, stream=stream).double()


def rounded(x: Tensor) -> Tensor:
    """The nearest of the levels 0 to 255 to values in [0, 1], as floats: what an 8-bit file of the picture holds."""
    return (x * LEVELS).round_()


def cut(x: Tensor) -> Tensor:
    """The level below values in [0, 1], as floats: what is left when NumPy casts them to bytes."""
    return (x * LEVELS).add_(SLACK).floor_().clamp_(0, LEVELS)


def grey(x: Tensor) -> Tensor:
    """(N, 1, H, W): the luma of three channels (0.299, 0.587, 0.114: ITU-R BT.601), the mean of any other number."""
    if x.shape[1] == 3:
        return x[:, :1] * 0.299 + x[:, 1:2] * 0.587 + x[:, 2:] * 0.114
    total = x[:, :1].clone()
    for channel in range(1, x.shape[1]):
        total += x[:, channel : channel + 1]
    return total / x.shape[1]


def colour(x: Tensor, rgb: tuple[int, int, int]) -> Tensor:
    """(C, 1, 1): a colour of 8-bit levels for pictures like `x`; with other than three channels, its grey in each."""
    if x.shape[1] == 3:
        return (x.new_tensor(rgb) / LEVELS).view(3, 1, 1)
    level = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    return x.new_full((x.shape[1], 1, 1), level / LEVELS)

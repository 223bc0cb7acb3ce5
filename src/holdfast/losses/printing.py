"""What a pattern asks of a printer: how rough it is, and how far its colours are from those that can be printed."""

from typing import Literal

import torch
from torch import Tensor

from holdfast.errors import OptionError

__all__ = ["PALETTE", "non_printability", "total_variation"]

LEVELS = (0.1, 0.5, 0.9)
# No measured printer: a printer neither reaches black, white and full colours nor lacks any hue.
PALETTE = torch.cartesian_prod(*[torch.tensor(LEVELS, dtype=torch.float64)] * 3)
"""(27, 3): every colour of the levels 0.1, 0.5 and 0.9, where no palette is given."""


def total_variation(x: Tensor, allowed: Tensor | None = None) -> Tensor:
    """(N,): the sum over pixels of the length of the differences to the neighbours below and to the right.

    Of each channel by itself. With `allowed` bool, broadcasting against `x`, only differences between two values that
    are both in it count. The gradient is 0 where both differences are.
    Args: `x` (N, C, H, W) float. Raises: `OptionError` for inputs that are no pictures.
    Source: Sharif et al. 2016, doi:10.1145/2976749.2978392, sec. 5.2; Mahendran & Vedaldi 2015, arXiv:1412.0035, with
    beta = 1.
    """
    if x.ndim != 4:
        raise OptionError(f"total_variation: x of shape {tuple(x.shape)}; allowed: pictures (N, C, H, W).")
    here = torch.ones_like(x, dtype=torch.bool) if allowed is None else allowed.expand_as(x)
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[:, :, :-1] = (x[:, :, 1:] - x[:, :, :-1]) * (here[:, :, 1:] & here[:, :, :-1])
    right[:, :, :, :-1] = (x[:, :, :, 1:] - x[:, :, :, :-1]) * (here[:, :, :, 1:] & here[:, :, :, :-1])
    square = down.square() + right.square()
    # The root has no slope at 0; there it is left out before it is taken, or 0 times infinity would be NaN.
    flat = square == 0
    return torch.where(flat, 0.0, torch.where(flat, 1.0, square).sqrt()).flatten(1).sum(1)


def non_printability(
    x: Tensor,
    palette: Tensor | None = None,
    allowed: Tensor | None = None,
    *,
    form: Literal["nearest", "product"] = "nearest",
) -> Tensor:
    """(N,): the sum over pixels of the distance to the printable colours; 0 where every pixel shows one of them.

    "nearest": to the nearest one. "product": the product of the distances to all, as published, which vanishes beside
    many colours and with it its gradient.
    Args: `x` (N, C, H, W); `palette` (P, C), in the units of `x`, default `PALETTE`, of a grey picture its three greys;
    `allowed` as above: pixels count of which any channel is in it.
    Raises: `OptionError` for a palette of another number of channels, or none at all.
    Source: product: Sharif et al. 2016, doi:10.1145/2976749.2978392, sec. 5.2; nearest: Thys, Van Ranst & Goedeme 2019,
    arXiv:1904.08653, sec. 3.1.
    """
    if x.ndim != 4:
        raise OptionError(f"non_printability: x of shape {tuple(x.shape)}; allowed: pictures (N, C, H, W).")
    if palette is None:
        palette = PALETTE if x.shape[1] == 3 else torch.tensor(LEVELS)[:, None].expand(-1, x.shape[1])
    if palette.ndim != 2 or palette.shape[1] != x.shape[1] or not len(palette):
        raise OptionError(
            f"non_printability: a palette of shape {tuple(palette.shape)} for pictures of {x.shape[1]} channels; "
            f"allowed: (P, {x.shape[1]}), a row a colour. Give each colour as many values as a pixel has."
        )
    square = (x[:, None] - palette.to(x)[None, :, :, None, None]).square().sum(2)  # (N, P, H, W)
    flat = square == 0
    away = torch.where(flat, 0.0, torch.where(flat, 1.0, square).sqrt())
    score = away.amin(1) if form == "nearest" else away.prod(1)
    if allowed is not None:
        score = score * allowed.expand_as(x).any(1)
    return score.flatten(1).sum(1)

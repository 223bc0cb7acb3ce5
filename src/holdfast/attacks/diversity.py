"""Input diversity: a picture shrunk at random and padded back to its size, so that no gradient fits one position."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.attacks.case import Case
from holdfast.errors import OptionError

NUMBERS = 4  # that one point needs: whether, how small, how far down, how far to the right


@dataclass(frozen=True)
class Shrunk:
    """A linear map for each of B points: to bilinear samples of a smaller picture, with nothing around it."""

    rows: Tensor  # (B, H, H)
    columns: Tensor  # (B, W, W)

    def __call__(self, points: Tensor, low: float) -> Tensor:
        """Points (B, C, H, W) shrunk, with `low`, the box's darkest value, around them."""
        moved = self.rows[:, None] @ (points - low) @ self.columns[:, None].mT
        return moved + low

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient at the shrunk points (B, C, H, W) as that at the points themselves."""
        return self.rows[:, None].mT @ gradient @ self.columns[:, None]


def shrinking(case: Case, breadth: int, chance: float, smallest: float) -> Shrunk:
    """The maps of `breadth` points a lane, (L * breadth), as `case.draws` has them: each applied with a `chance`.

    Both sides become about the same share, at least `smallest`, of what they are; the place is anywhere.
    A point that is left alone has the identity, bit for bit.
    Raises: `OptionError` for inputs that are not pictures (C, H, W).
    Source: Xie et al. 2019, arXiv:1803.06978, sec. 3.3; there pictures are enlarged, which a network of one input size
    cannot take.
    """
    if case.x.ndim != 4:
        raise OptionError(
            f"input diversity for inputs of shape {tuple(case.x.shape[1:])}; allowed: pictures (C, H, W). "
            "Pass diversity=0."
        )
    numbers = case.draws.uniform(case.x.new_empty(len(case.x), breadth * NUMBERS)).view(-1, NUMBERS)
    whole = numbers[:, 0] >= chance
    sides = [shrunk_side(side, smallest, numbers[:, 1], whole) for side in case.x.shape[2:]]
    maps = [
        sampling(side, size, (number * (side - size + 1)).floor())
        for side, size, number in zip(case.x.shape[2:], sides, numbers[:, 2:].unbind(1), strict=True)
    ]
    return Shrunk(*maps)


def shrunk_side(side: int, smallest: float, number: Tensor, whole: Tensor) -> Tensor:
    """(B,) whole numbers: `side` where `whole`, else from `smallest` times `side`, rounded, to a pixel less than all.

    As in the paper, where a picture that is changed at all never fills its frame; `side` where no pixel is to go.
    """
    least = min(side, max(1, round(smallest * side)))
    most = max(least, side - 1)
    return torch.where(whole, float(side), least + (number * (most - least + 1)).floor())


def sampling(side: int, size: Tensor, offset: Tensor) -> Tensor:
    """(B, side, side): what each of `side` places takes from each, if the picture has `size` (B,) from `offset` (B,).

    Bilinear, sampled at the middle of pixels, so that all `side` at offset 0 is the identity.
    """
    place = torch.arange(side, dtype=size.dtype, device=size.device)
    inner = place - offset[:, None]
    source = ((inner + 0.5) * side / size[:, None] - 0.5).clamp(0, side - 1)
    weight = (1 - (source[:, :, None] - place).abs()).clamp_min(0)
    return weight * ((inner >= 0) & (inner < size[:, None]))[:, :, None]

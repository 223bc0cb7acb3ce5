"""What an augmentation is, and several of them one after the other."""

import zlib
from collections.abc import Sequence
from typing import Protocol, overload, runtime_checkable

import torch
from torch import Tensor

from holdfast.draws import Draws
from holdfast.errors import OptionError

__all__ = ["Augmentation", "Moving", "augmented", "numbers"]


@runtime_checkable
class Augmentation(Protocol):
    """The interface of all augmentations: a frozen record of options that changes pictures at random.

    Every random number is drawn for one picture, from draws keyed by that picture's place, and never for a batch: a
    picture is changed alike in whatever batch it comes, up to float rounding.
    """

    @property
    def name(self) -> str:
        """As recipes call it."""
        ...

    def apply(self, x: Tensor, draws: Draws) -> Tensor:
        """The changed pictures: of shape, dtype and device of `x` (N, C, H, W), float in [0, 1], and in [0, 1] as well.

        `draws` has one lane a picture, on the device of `x`. `x` is left as it is.
        """
        ...


@runtime_checkable
class Moving(Augmentation, Protocol):
    """An augmentation that takes pixels to other places, so that a segmentation mask has to follow."""

    def move(self, mask: Tensor, draws: Draws, fill: float = 0) -> Tensor:
        """A mask (N, ..., H, W) of any dtype, moved as `apply` moves the pictures under the same draws.

        Each pixel takes the value of the nearest one; what comes in from outside the picture is `fill`. Where the
        border is reflected nothing does: the mask is reflected like the picture.
        Raises: `OptionError` where no mask could follow.
        """
        ...


@overload
def augmented(
    x: Tensor, augmentations: Sequence[Augmentation], *, seed: int, place: Tensor, masks: None = None, fill: float = 0
) -> Tensor: ...


@overload
def augmented(
    x: Tensor, augmentations: Sequence[Augmentation], *, seed: int, place: Tensor, masks: Tensor, fill: float = 0
) -> tuple[Tensor, Tensor]: ...


def augmented(
    x: Tensor,
    augmentations: Sequence[Augmentation],
    *,
    seed: int,
    place: Tensor,
    masks: Tensor | None = None,
    fill: float = 0,
) -> Tensor | tuple[Tensor, Tensor]:
    """Pictures changed by one augmentation after the other, with the masks that follow them.

    Args: `x` (N, C, H, W) float in [0, 1]; `place` (N,) int64, each picture's place in the full split, which with
    `seed` keys its noise: give another seed in every epoch. `masks` (N, ..., H, W) of any dtype; `fill` is what they
    hold where the picture comes in from outside, such as the label that a loss ignores.
    Returns new pictures, or new pictures and masks where masks are given. Each augmentation draws under a key of its
    own, made of its position in the list and its name.
    Raises: `OptionError` for inputs that are no pictures, places or masks that do not fit them, and masks that cannot
    follow.

    >>> from holdfast.augment import Crop, Mirror
    >>> x, place = torch.rand(8, 3, 32, 32), torch.arange(8)
    >>> augmented(x, [Crop(pad=4), Mirror()], seed=1, place=place).shape
    torch.Size([8, 3, 32, 32])
    """
    _check(x, place, masks)
    for position, augmentation in enumerate(augmentations):
        draws = Draws(seed, place.to(x.device), attack=zlib.crc32(f"{position} {augmentation.name}".encode()))
        x = augmentation.apply(x, draws)
        if masks is not None and isinstance(augmentation, Moving):
            masks = augmentation.move(masks, draws, fill)
    return x if masks is None else (x, masks)


def numbers(draws: Draws, *shape: int, stream: int = 0) -> Tensor:
    """(N, *shape) float64, uniform in [0, 1): the same for pictures of any dtype and for their masks."""
    like = torch.empty((len(draws.picture), *shape), dtype=torch.float64, device=draws.picture.device)
    return draws.uniform(like, stream)


def _check(x: Tensor, place: Tensor, masks: Tensor | None) -> None:
    if x.ndim != 4 or not x.is_floating_point():
        raise OptionError(
            f"augmented: x has shape {tuple(x.shape)} and dtype {x.dtype}; allowed: pictures (N, C, H, W), float in "
            "[0, 1]. Divide 8-bit pictures by 255."
        )
    if place.shape != x.shape[:1]:
        raise OptionError(
            f"augmented: place has shape {tuple(place.shape)} for {len(x)} pictures; allowed: ({len(x)},) int64. "
            "Pass each picture's place in the full split."
        )
    if masks is not None and (masks.ndim < 3 or len(masks) != len(x) or masks.shape[-2:] != x.shape[-2:]):
        raise OptionError(
            f"augmented: masks have shape {tuple(masks.shape)} for pictures of shape {tuple(x.shape)}; allowed: "
            f"({len(x)}, ..., {x.shape[2]}, {x.shape[3]}), a value a pixel. Give each picture its own mask."
        )

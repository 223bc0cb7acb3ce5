"""What training starts from: a card for the pictures, first weights, and pictures on the device of the model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.data import Pictures
from holdfast.errors import ModelError
from holdfast.models import Card, Normalized, fit
from holdfast.models import architecture as named
from holdfast.models.normalized import PIXELS
from holdfast.models.user import is_user_model
from holdfast.models.user_net import sha256_of
from holdfast.options import to_plain
from holdfast.train.checks import check_some


def card_for(
    architecture: str,
    pictures: Pictures,
    options: Mapping[str, object] | None = None,
    *,
    normalize: bool | Literal["pixels"] | None = None,
) -> Card:
    """A card that fits the pictures, of a registered architecture or a user's own FILE.py:FACTORY, for `train`.

    Args: `options` of the architecture, as values or text; `normalize` puts the pictures' own mean and standard
    deviation, channel by channel, inside the model, "pixels" the mean picture alone, which is subtracted: by default
    the first around those of the library, and nothing around a user's.
    Raises: `OptionError` for unknown names, wrong options or pictures too small; `DataError` for no pictures.
    """
    own = is_user_model(architecture)
    record = named(architecture, {"sha256": sha256_of(architecture), **(options or {})} if own else options)
    mean: tuple[float, ...] | Literal["pixels"] | None
    mean, std = statistics(pictures) if (not own if normalize is None else normalize) else (None, None)
    if normalize == "pixels":
        mean, std = normalize, (1.0,) * pictures.shape[0]
    return Card(
        architecture=architecture,
        options=to_plain(record),
        shape=pictures.shape,
        classes=pictures.classes,
        mean=mean,
        std=std,
    )


def statistics(pictures: Pictures) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel over all pixels, in [0, 1], to four digits.

    A channel that never changes gets the standard deviation 1.
    """
    check_some(pictures)
    found = [_moments(pictures.images[:, channel]) for channel in range(pictures.shape[0])]
    means, stds = zip(*found)
    return tuple(round(m, 4) for m in means), tuple(round(s, 4) if s >= 1e-4 else 1.0 for s in stds)


def _moments(values: torch.Tensor) -> tuple[float, float]:
    if values.dtype == torch.uint8:  # counted, which is exact and takes no memory for floats
        counts = values.flatten().bincount(minlength=256).double().cpu()
        levels = torch.arange(256, dtype=torch.float64) / 255
        share = counts / counts.sum()
        mean = (share * levels).sum()
        return float(mean), float((share * (levels - mean) ** 2).sum().sqrt())
    whole = values.double()
    return float(whole.mean()), float(whole.std(correction=0))


def begin_with(model: nn.Module, card: Card, pictures: Pictures, weights: Mapping[str, Tensor] | None) -> None:
    """Put given weights into a card's fresh model; without them the mean picture, where it subtracts one.

    Raises: `ModelError` for weights of another architecture or behind another normalisation, which the card would not
    tell.
    """
    if weights is not None:
        known = {name: value.clone() for name, value in model.state_dict().items() if name in ("mean", "std")}
        fit(model, weights, "the model to begin with")
        if isinstance(model, Normalized) and card.mean != PIXELS:
            changed = [name for name in known if not torch.allclose(known[name], weights[name].to(known[name]))]
            if changed:
                raise ModelError(
                    f"the weights to begin with were made behind another {' and '.join(changed)} of the pictures than "
                    "the card has; allowed: the same. Take the card that the weights came with."
                )
    elif isinstance(model, Normalized) and card.mean == PIXELS:
        check_some(pictures)
        model.mean.copy_(mean_picture(pictures))


def mean_picture(pictures: Pictures) -> Tensor:
    """The mean of all pictures, (1, C, H, W) float64 in [0, 1]."""
    if pictures.images.dtype == torch.uint8:  # whole numbers add up exactly, and are not copied
        return pictures.images.sum(0, keepdim=True, dtype=torch.int64).double() / (255 * len(pictures))
    return pictures.images.mean(0, keepdim=True, dtype=torch.float64)


def on_device(pictures: Pictures, device: torch.device) -> Pictures:
    """The same pictures with their bytes on the device, to be made floats a batch at a time."""
    moved = {name: getattr(pictures, name).to(device) for name in ("images", "labels", "place")}
    return replace(pictures, **moved)


def channels_last(model: nn.Module) -> None:
    """Put the weights of convolutions into the layout that has a pixel's channels side by side."""
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)

"""Pictures of noise, which belong to no class."""

from typing import Literal, get_args

import torch

from holdfast.data import Pictures
from holdfast.draws import Draws
from holdfast.errors import OptionError, unknown

Kind = Literal["uniform", "gaussian"]
KINDS: tuple[str, ...] = get_args(Kind)


def noise(kind: str, like: Pictures, *, seed: int = 0, spread: float = 0.25) -> Pictures:
    """As many pictures of noise as `like` has, in their shape, as bytes: each value drawn for itself.

    "uniform": every byte as likely. "gaussian": about a half with standard deviation `spread`, cut to [0, 1]. Picture i
    is the same for any number of pictures. The labels are 0 and mean nothing.
    Raises: `OptionError` for another kind, or a spread that is not positive.
    """
    if kind not in KINDS:
        raise unknown("noise", kind, KINDS)
    if not spread > 0:
        raise OptionError(f"noise: spread={spread!r}; allowed: numbers > 0, in pixel units. Pass spread=0.25.")
    parts = []
    for place in torch.arange(len(like)).split(1000):
        empty, draws = torch.empty(len(place), *like.shape), Draws(seed, place)
        drawn = draws.uniform(empty) if kind == "uniform" else 0.5 + spread * draws.normal(empty)
        parts.append((256 * drawn).floor().clamp(0, 255).to(torch.uint8))
    count = len(like)
    return Pictures(
        name=f"noise:{kind}",
        split=like.split,
        images=torch.cat(parts),
        labels=torch.zeros(count, dtype=torch.int64),
        classes=("noise", "nothing"),
        place=torch.arange(count),
    )

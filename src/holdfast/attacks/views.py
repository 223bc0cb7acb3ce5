"""Random views of a picture, as a camera has them: turned, tilted, nearer, in other light, out of focus, noisy."""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from holdfast.access import View
from holdfast.draws import Draws
from holdfast.errors import OptionError
from holdfast.lanes import column

FIRST = 64  # streams of the draws before this one are the attacks' own
KINDS = 8  # streams of a view


@dataclass(frozen=True, kw_only=True)
class Views:
    """What varies from look to look, each by a range; 0 leaves it as it is.

    Each picture and look draws its own angle, uniform in [-rotation, rotation]; corners, each moved inwards by up to
    `perspective` / 2 of the side; scale, uniform in [1 - scale, 1 + scale]; contrast and brightness, values times a
    factor uniform in [1 - light, 1 + light]; blur, Gaussian of a standard deviation uniform in [0, blur] pixels; noise,
    Gaussian of standard deviation `noise`, in widths of the box. In this order; then values are cut to the box. What
    lies beyond the picture's edge repeats the edge.
    Every view is differentiable, by Kornia, and drawn from keyed noise, the same in any batch and process.
    Raises: `OptionError` for a range that makes no sense.
    Source: Athalye, Engstrom, Ilyas & Kwok 2018, arXiv:1707.07397, sec. 3.2, whose ranges for pictures are rotation
    22.5, scale 0.9 to 1.4, lightness 0.05 added, noise up to 0.1.
    """

    rotation: float = field(default=0.0, metadata={"help": "degrees, up to 180"})
    perspective: float = field(default=0.0, metadata={"help": "share of the sides that corners move inwards, below 1"})
    scale: float = field(default=0.0, metadata={"help": "share by which it is larger or smaller, below 1"})
    light: float = field(default=0.0, metadata={"help": "share by which it is brighter or darker, up to 1"})
    blur: float = field(default=0.0, metadata={"help": "largest standard deviation, in pixels, up to 10"})
    noise: float = field(default=0.0, metadata={"help": "standard deviation, in widths of the box, up to 1"})

    def __post_init__(self) -> None:
        """Check the ranges."""
        allowed = {"rotation": 180.0, "perspective": 0.99, "scale": 0.99, "light": 1.0, "blur": 10.0, "noise": 1.0}
        for name, most in allowed.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= most):
                raise OptionError(
                    f"Views: {name}={value!r}; allowed: 0 to {most:g}. For none, leave it out; small changes of a "
                    "picture in hand are rotation=15, perspective=0.2, scale=0.1, light=0.2, blur=1, noise=0.02."
                )

    @property
    def moves(self) -> bool:
        """Whether pixels go to other places."""
        return bool(self.rotation or self.perspective or self.scale)

    def drawn(self, draws: "Drawing", like: Tensor, look: int, low: float, high: float) -> View:
        """The view of each lane at a look of that number, from 0, of pictures (L, C, H, W) in the box [low, high].

        Raises: `OptionError` for inputs that are no pictures.
        """
        if like.ndim != 4:
            raise OptionError(f"views of inputs of shape {tuple(like.shape[1:])}; allowed: pictures (C, H, W).")
        first = FIRST + KINDS * look
        numbers = 2 * draws.uniform(like.new_empty(len(like), 11), stream=first) - 1  # uniform in [-1, 1)
        return Seen(
            warp=self._warp(numbers, like) if self.moves else None,
            light=1 + self.light * numbers[:, 2] if self.light else None,
            blur=self.blur * (numbers[:, 10] + 1) / 2 if self.blur else None,
            noise=self.noise * (high - low) * draws.normal(like, stream=first + 1) if self.noise else None,
            reach=math.ceil(3 * self.blur),
            low=low,
            high=high,
        )

    def _warp(self, numbers: Tensor, like: Tensor) -> Tensor:
        """(L, 3, 3) float64: from pixels of the view to pixels of the picture, both from -1 to 1."""
        from kornia.geometry.transform import get_perspective_transform

        numbers = numbers.double()
        count, (height, width) = len(numbers), like.shape[2:]
        angle, size = numbers[:, 0] * math.radians(self.rotation), 1 / (1 + self.scale * numbers[:, 1])
        cos, sin, none = angle.cos() * size, angle.sin() * size, torch.zeros_like(angle)
        # Angles are those of the picture's own sides, which need not be equal.
        turned = [cos, -sin * height / width, none, sin * width / height, cos, none, none, none, torch.ones_like(none)]
        turn = torch.stack(turned, 1).view(count, 3, 3)
        if not self.perspective:
            return turn
        corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]).to(numbers)
        inwards = self.perspective * (numbers[:, 3:11].view(count, 4, 2) + 1) / 2
        seen = corners * (1 - inwards)
        tilt = get_perspective_transform(corners.expand_as(seen).contiguous(), seen)
        return turn @ tilt


class Drawing(Protocol):
    """The draws a view needs."""

    def uniform(self, like: Tensor, stream: int = 0) -> Tensor:
        """Uniform in [0, 1)."""

    def normal(self, like: Tensor, stream: int = 0) -> Tensor:
        """Standard normal."""


@dataclass(frozen=True)
class Seen:
    """One view of each picture, as numbers: a tree with a row a picture, that is called on the pictures."""

    warp: Tensor | None  # (N, 3, 3)
    light: Tensor | None  # (N,)
    blur: Tensor | None  # (N,) standard deviations in pixels
    noise: Tensor | None  # (N, C, H, W)
    reach: int  # of the blur, in pixels to each side
    low: float
    high: float

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) as they are seen; differentiable."""
        seen = x
        if self.warp is not None:
            seen = warped(seen, self.warp)
        if self.light is not None:
            seen = self.low + (seen - self.low) * column(self.light, seen).to(seen)
        if self.blur is not None:
            seen = blurred(seen, self.blur, self.reach)
        if self.noise is not None:
            seen = seen + self.noise
        return seen.clamp(self.low, self.high)


def warped(x: Tensor, warp: Tensor) -> Tensor:
    """Pictures (N, C, H, W) looked up through maps (N, 3, 3) of pixels from -1 to 1; beyond the edge, the edge."""
    from kornia.geometry.linalg import transform_points

    height, width = x.shape[2:]
    rows, columns = (torch.linspace(-1, 1, room, dtype=torch.float64, device=x.device) for room in (height, width))
    grid = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], 2).view(1, -1, 2)
    places = transform_points(warp, grid.expand(len(x), -1, -1)).reshape(len(x), height, width, 2)
    return torch.nn.functional.grid_sample(x, places.to(x), padding_mode="border", align_corners=True)


def blurred(x: Tensor, deviation: Tensor, reach: int) -> Tensor:
    """Pictures (N, C, H, W), each under a Gaussian of its own standard deviation (N,), in pixels; 0 leaves it sharp."""
    from kornia.filters import gaussian_blur2d

    sharp = deviation.clamp_min(1e-3).to(x)[:, None].expand(-1, 2)
    sides = [min(2 * reach + 1, 2 * room - 1) for room in x.shape[2:]]
    answer: Tensor = gaussian_blur2d(x, (sides[0], sides[1]), sharp, border_type="reflect")
    return answer


def judging(seed: int, picture: Tensor) -> Draws:
    """The draws of the looks that judge, which no attack has seen: keyed by picture, under a name of their own."""
    return Draws(seed, picture, attack=-1)

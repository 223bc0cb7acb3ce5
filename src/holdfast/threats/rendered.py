"""The interface of a threat whose pictures are made by a few numbers, and what such threats share."""

import math
from typing import ClassVar, Literal, Protocol, Self, get_args, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.threats.threat import Threat

__all__ = ["Border", "Rendered", "check_border", "check_eps", "sampled", "unmoved"]

Border = Literal["black", "edge", "mirror"]
"""What lies outside a picture: the box's lowest value; the nearest pixel; the picture again, mirrored at its side."""

PADDING = {"black": "zeros", "edge": "border", "mirror": "reflection"}


@runtime_checkable
class Rendered(Protocol):
    """Everything that `render` makes of a picture with parameters within `eps` of 0.

    What moves are the parameters, so their geometry is that of a threat on them (`ball`), and every attack with a form
    for that one works here: it is shown parameters in the place of pictures, and the model sees what is rendered.
    """

    name: ClassVar[str]
    unit: ClassVar[str]  # of the parameters, in words
    grain: ClassVar[float]  # as of a norm
    sparse: ClassVar[bool]

    @property
    def eps(self) -> float | Tensor:
        """The largest absolute value of a parameter: one float, or (N,), one a lane."""

    @property
    def low(self) -> float:
        """Smallest input value allowed."""

    @property
    def high(self) -> float:
        """Largest input value allowed."""

    def ball(self, shape: tuple[int, ...]) -> Threat:
        """What is allowed to the parameters of pictures of a shape (C, H, W), around 0; its box bounds `eps` too."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the parameters of a picture of a shape (C, H, W). Raises: `DataError` for one that cannot be rendered."""

    def render(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Pictures (N, C, H, W) from pictures and parameters (N, ...), differentiable in both; `x` itself at 0."""

    def with_eps(self, eps: float | Tensor) -> Self:
        """The same threat with another radius."""


def check_eps(kind: str, eps: float | Tensor, widest: float, unit: str) -> None:
    """Raise `OptionError` unless 0 <= eps <= widest; a tensor's shape alone is checked."""
    if isinstance(eps, Tensor):
        if eps.ndim != 1:
            raise OptionError(
                f"{kind}: eps is a tensor of shape {tuple(eps.shape)}; allowed: a float, or a tensor (N,), one radius "
                "a lane. Pass float(eps) for one radius."
            )
    elif not (0 <= eps <= widest and math.isfinite(eps)):
        limit = f"0 <= eps <= {widest:g}" if math.isfinite(widest) else "0 or more, finite"
        raise OptionError(f"{kind}: eps={eps!r}; allowed: {limit}, in {unit}.")


def check_border(kind: str, border: str) -> None:
    """Raise `OptionError` for another border than those known."""
    if border not in get_args(Border):
        raise OptionError(f"{kind}: border={border!r}; allowed: {', '.join(get_args(Border))}. Leave it out.")


def unmoved(rendered: Tensor, x: Tensor, parameters: Tensor) -> Tensor:
    """`rendered`, but the picture itself to the bit where all parameters are 0, with the gradient as it is there."""
    still = ~(parameters != 0).flatten(1).any(1).view(-1, *[1] * (x.ndim - 1))
    return torch.where(still, rendered + (x - rendered).detach(), rendered)


def sampled(x: Tensor, rows: Tensor, columns: Tensor, border: Border, low: float, high: float) -> Tensor:
    """Pictures (N, C, H, W) from the values of `x` at places (N, H, W) in pixels, from the centre of the first one.

    Between the centres of four pixels values are interpolated linearly both ways; what lies outside is as `border`.
    """
    high_side, wide = x.shape[2:]
    places = torch.stack([(2 * columns + 1) / wide - 1, (2 * rows + 1) / high_side - 1], 3)
    # From the lowest value, since the framework's black is 0.
    found = F.grid_sample(x - low, places, mode="bilinear", padding_mode=PADDING[border], align_corners=False)
    return (found + low).clamp(low, high)

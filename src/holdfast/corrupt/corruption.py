"""What a corruption is, its two tables of severities, and the one function that applies it."""

import zlib
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from torch import Tensor

from holdfast.draws import Draws
from holdfast.errors import OptionError, unknown

__all__ = [
    "LEAST_SIDE",
    "SMALL_SIDE",
    "Coloured",
    "Corruption",
    "Differentiable",
    "Levels",
    "Table",
    "applied",
    "table_for",
]

Table = Literal["auto", "small", "imagenet"]
"""Which published severities: those of small pictures (CIFAR-10-C), of ImageNet-C, or chosen by the pictures' size."""

SMALL_SIDE = 96  # pixels: up to this shorter side, "auto" takes the table of small pictures
LEAST_SIDE = 8  # pixels: below it, a blur of one pixel and a crystal of frost mean nothing
SEVERITIES = 5
VALUES_AT_ONCE = 2**20  # of pictures worked on together: what a corruption needs besides is a few times that

Strength = TypeVar("Strength")


@dataclass(frozen=True)
class Levels(Generic[Strength]):
    """How strong a corruption is at severities 1 to 5, in both tables.

    Source: Hendrycks & Dietterich 2019, arXiv:1903.12261; the numbers are those of the published code,
    `make_imagenet_c.py` and `make_cifar_c.py` of hendrycks/robustness.
    """

    imagenet: tuple[Strength, Strength, Strength, Strength, Strength]
    small: tuple[Strength, Strength, Strength, Strength, Strength]

    def at(self, table: Literal["small", "imagenet"], severity: int) -> Strength:
        """The strength at a severity from 1 to 5."""
        return (self.small if table == "small" else self.imagenet)[severity - 1]


@runtime_checkable
class Corruption(Protocol):
    """The interface of all corruptions: a frozen record of options that spoils pictures as a camera or weather would.

    Every random number is drawn for one picture, and what is computed for a picture does not depend on the others that
    come with it, so that any split into batches gives the same bits.
    """

    @property
    def name(self) -> str:
        """As the command line calls it."""
        ...

    @property
    def levels(self) -> Levels[Any]:
        """Its strength by table and severity."""
        ...

    def apply(self, x: Tensor, strength: Any, draws: Draws) -> Tensor:
        """The corrupted pictures: of shape, dtype and device of `x` (N, C, H, W), float32 or float64, in [0, 1].

        `strength` is one of `levels`; `draws` has one lane a picture, on the device of `x`. `x` is left as it is.
        """
        ...


@runtime_checkable
class Coloured(Corruption, Protocol):
    """A corruption of colours, which pictures without them cannot have."""

    @property
    def channels(self) -> int:
        """How many the pictures must have."""
        ...


@runtime_checkable
class Differentiable(Corruption, Protocol):
    """A corruption through which a gradient may go."""

    @property
    def differentiable(self) -> bool:
        """Whether it does, as its options are."""
        ...


def table_for(height: int, width: int, table: Table = "auto") -> Literal["small", "imagenet"]:
    """The table meant: where it is "auto", that of small pictures up to a shorter side of 96 pixels.

    Raises: `OptionError` for a name of no table.
    """
    if table == "auto":
        return "small" if min(height, width) <= SMALL_SIDE else "imagenet"
    if table not in get_args(Table):
        raise unknown("table of severities", str(table), get_args(Table))
    return table


def applied(corruption: Corruption, x: Tensor, severity: int, *, seed: int, place: Tensor, table: Table) -> Tensor:
    """`holdfast.corrupt.corrupted` for a record."""
    check_severity(severity)
    _check(corruption, x, place)
    strength = corruption.levels.at(table_for(x.shape[2], x.shape[3], table), severity)
    if not len(x):
        return x.clone()
    # Half precision holds fewer than the 256 levels of a picture near white, so that arithmetic is not done in it.
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    key = zlib.crc32(f"{corruption.name} {severity}".encode())
    rows = max(1, VALUES_AT_ONCE // wide[0].numel())
    # Others round on the way, so that what came through would be no gradient of theirs.
    smooth = isinstance(corruption, Differentiable) and corruption.differentiable
    with torch.set_grad_enabled(torch.is_grad_enabled() and smooth):
        parts = [
            corruption.apply(some, strength, Draws(seed, places, attack=key))
            for some, places in zip(wide.split(rows), place.to(x.device).split(rows))
        ]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(x.dtype)


def check_severity(severity: object) -> None:
    """Raise `OptionError` unless it is a whole number from 1 to 5."""
    if isinstance(severity, bool) or not isinstance(severity, int) or not 1 <= severity <= SEVERITIES:
        raise OptionError(
            f"severity={severity!r}; allowed: whole numbers from 1 (slight) to {SEVERITIES} (heavy). For the middle "
            "one, pass severity=3."
        )


def _check(corruption: Corruption, x: Tensor, place: Tensor) -> None:
    """Raise `OptionError` for what are no pictures, or none that this corruption can be done to."""
    name = corruption.name
    if x.ndim != 4 or not x.is_floating_point() or not x.shape[1]:
        raise OptionError(
            f"{name}: x has shape {tuple(x.shape)} and dtype {x.dtype}; allowed: pictures (N, C, H, W), float in "
            "[0, 1]. Divide 8-bit pictures by 255."
        )
    if min(x.shape[2:]) < LEAST_SIDE:
        raise OptionError(
            f"{name}: pictures of {x.shape[2]}x{x.shape[3]}; allowed: from {LEAST_SIDE}x{LEAST_SIDE} up. Enlarge them "
            "first."
        )
    if isinstance(corruption, Coloured) and x.shape[1] != corruption.channels:
        raise OptionError(
            f"{name}: pictures have {x.shape[1]} channels; allowed: {corruption.channels}, red, green and blue. Leave "
            f"{name} out; `holdfast.corrupt.fitting` lists what these pictures can have."
        )
    if place.shape != x.shape[:1] or place.dtype != torch.int64:
        raise OptionError(
            f"{name}: place has shape {tuple(place.shape)} and dtype {place.dtype} for {len(x)} pictures; allowed: "
            f"({len(x)},) int64. Pass each picture's place in the full split."
        )
    # NaN compares as false with everything, and so is refused here too.
    if x.numel() and not bool(((x >= 0) & (x <= 1)).all()):
        low, high = (float(end) for end in x.detach().aminmax())
        raise OptionError(
            f"{name}: values of x lie in [{low:g}, {high:g}]; allowed: numbers from 0 to 1, no NaN. Divide 8-bit "
            "pictures by 255, and corrupt pictures before they are normalised."
        )

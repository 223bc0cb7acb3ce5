"""Which values of a picture may change at all: read from a file or made of a tensor, shared by all lanes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.errors import OptionError
from holdfast.options import parse

__all__ = ["Mask", "mask_from"]

MID_GREY = 128  # of 8 bits: pixels of a PNG that are at least as light may change


class Held:
    """A bool tensor that belongs to all lanes alike; no tensor itself, so that taking lanes leaves it alone."""

    def __init__(self, bits: Tensor) -> None:
        self._on = {bits.device: bits}
        self._first = bits

    def on(self, device: torch.device) -> Tensor:
        """The tensor on that device, brought there once."""
        if device not in self._on:
            self._on[device] = self._first.to(device)
        return self._on[device]


@dataclass(frozen=True)
class Mask:
    """Which values may change, the same in every picture: (H, W) for all channels alike, or (C, H, W).

    Everything it is stands in its options, so that run.json holds it whole: `runs` are the lengths of stretches of
    values, row by row, that in turn may not change and may.
    Raises: `OptionError` for a mask that allows nothing, runs that do not fill the shape, or another hash.
    """

    shape: tuple[int, ...]
    runs: tuple[int, ...] = field(repr=False)
    file: str | None = None  # its name, if it was read from one
    sha256: str = ""  # of shape and runs; made here where it is left out
    allowed: int = 0  # how many values may change; counted here
    held: Held = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Unfold the runs and check what is said of them."""
        total = torch.Size(self.shape).numel()
        if sum(self.runs) != total or any(run < 0 for run in self.runs):
            raise OptionError(
                f"Mask: runs sum to {sum(self.runs)}; allowed: the {total} values of {self.shape}, none below 0. "
                "Make one of a tensor by Mask.of(tensor)."
            )
        which = torch.arange(len(self.runs)) % 2 == 1
        bits = which.repeat_interleave(torch.tensor(self.runs, dtype=torch.int64)).view(self.shape)
        if not bool(bits.any()):
            raise OptionError(
                f"Mask: none of {total} values may change{_from(self.file)}; allowed: at least one. "
                "True, 1 and white stand for what may change."
            )
        digest = hashlib.sha256(f"{self.shape} {self.runs}".encode()).hexdigest()
        if self.sha256 not in ("", digest):
            raise OptionError(
                f"Mask: its hash is {digest[:12]}..., {self.sha256[:12]}... was on record{_from(self.file)}; allowed: "
                "the same mask. Leave sha256 out for another one."
            )
        object.__setattr__(self, "sha256", digest)
        object.__setattr__(self, "allowed", int(bits.sum()))
        object.__setattr__(self, "held", Held(bits))

    @classmethod
    def of(cls, tensor: Tensor, file: str | None = None) -> "Mask":
        """From (H, W) or (C, H, W): bool, or numbers that are all 0 or all the same other one.

        Raises: `OptionError` for other values, which do not say yes or no.
        """
        bits = _yes_or_no(tensor.detach().cpu(), file)
        flat = torch.cat([torch.zeros(1, dtype=torch.bool), bits.flatten()])
        edges = (flat[1:] != flat[:-1]).nonzero().flatten().tolist()
        ends = [*edges, bits.numel()]
        runs = tuple(end - start for start, end in zip([0, *edges], ends, strict=True))
        return cls(tuple(bits.shape), runs, file)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "Mask":
        """From a PNG, whose pixels lighter than mid-grey may change, or an .npy file as `of` takes it.

        Raises: `OptionError` for a file that cannot be read as one of these.
        """
        path = Path(path)
        try:
            tensor = _array(path) if path.suffix.lower() == ".npy" else _picture(path)
        except (OSError, ValueError) as error:
            raise OptionError(
                f"mask {str(path)!r} cannot be read: {type(error).__name__}: {error}; allowed: a PNG, white where "
                "values may change, or an .npy file of zeros and ones, (H, W) or (C, H, W)."
            ) from error
        return cls.of(tensor, path.name)

    def over(self, x: Tensor) -> Tensor:
        """Bool, broadcasting against pictures `x` (N, ...). Raises: `OptionError` where the sides differ."""
        bits = self.held.on(x.device)
        if self.shape == tuple(x.shape[1:]):
            return bits[None]
        if self.shape == tuple(x.shape[2:]):
            return bits[None, None]
        raise OptionError(
            f"mask of {_sides(self.shape)}{_from(self.file)} for pictures of {_sides(x.shape[1:])}; allowed: the "
            "pictures' own sides, with their channels or without. Scale it to them."
        )


def mask_from(given: "Mask | Tensor | PathLike[str] | Mapping[str, Any] | str") -> "Mask | Tensor":
    """A mask for all pictures; or (N, 1 or C, H, W) bool, one a lane, of a tensor with four axes.

    Raises: `OptionError` for a file, tensor or record that is none.
    """
    if isinstance(given, Mask):
        return given
    if isinstance(given, Mapping):
        return parse(Mask, given)
    if isinstance(given, str | PathLike):
        return Mask.read(given)
    if given.ndim == 4:
        return given if given.dtype == torch.bool else _yes_or_no(given, None)
    if given.ndim not in (1, 2, 3):
        raise OptionError(
            f"Mask: a tensor of {tuple(given.shape)}; allowed: (H, W) or (C, H, W) for all pictures, (N, 1, H, W) or "
            "(N, C, H, W) for one a picture."
        )
    return Mask.of(given)


def _yes_or_no(tensor: Tensor, file: str | None) -> Tensor:
    if tensor.dtype == torch.bool:
        return tensor
    bits = tensor != 0
    marks = tensor[bits]
    if len(marks) and not bool((marks == marks[0]).all()):
        raise OptionError(
            f"Mask: values from {float(tensor.min()):g} to {float(tensor.max()):g}{_from(file)}; allowed: 0 where "
            "nothing may change and one other number where it may, such as 1. Choose a threshold: mask > 0.5."
        )
    return bits


def _array(path: Path) -> Tensor:
    import numpy as np

    array = np.load(path, allow_pickle=False)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2, 3):
        raise ValueError(f"it holds {array.dtype} of shape {array.shape}")
    return torch.from_numpy(array.astype(np.float64))


def _picture(path: Path) -> Tensor:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("L")) >= MID_GREY)


def _from(file: str | None) -> str:
    return "" if file is None else f" in {file!r}"


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

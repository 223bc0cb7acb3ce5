"""Other shares of the classes than the pictures have: each picture counts as much as makes up for the difference."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import DataError, OptionError, unknown

DIRICHLET = "dirichlet:"
ROUNDING = 1e-9  # by which shares may exceed 1


@dataclass(frozen=True)
class LabelShift:
    """How often each class comes: `alpha` draws it from a symmetric Dirichlet distribution, or `shares` (label to
    share) says it, where classes that are not named divide the rest as they did before.

    Raises: `OptionError` unless exactly one is given, for `alpha` <= 0, a share outside [0, 1], and a sum above 1.
    """

    alpha: float | None = None
    shares: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if (self.alpha is None) == (self.shares is None):
            raise OptionError("LabelShift: allowed: either alpha or shares. Pass alpha=1.0, or shares={0: 0.5}.")
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            raise OptionError(
                f"LabelShift: alpha={self.alpha!r}; allowed: above 0. 1 draws any shares alike, 0.1 a few large ones."
            )
        for label, share in (self.shares or {}).items():
            if not 0 <= share <= 1:
                raise OptionError(
                    f"LabelShift: share {share!r} of class {label}; allowed: 0 to 1, such as 0.5 for half."
                )
        if (total := sum((self.shares or {}).values())) > 1 + ROUNDING:
            raise OptionError(f"LabelShift: shares that add up to {total:g}; allowed: 1 at most. Make them smaller.")

    @property
    def name(self) -> str:
        """As it is written on the command line."""
        if self.shares is None:
            return f"{DIRICHLET}{self.alpha:g}"
        return ",".join(f"{label}={share:g}" for label, share in self.shares.items())

    def target(self, labels: Tensor, classes: int, seed: int) -> Tensor:
        """(K,) float64: the share of each class, adding up to 1.

        Classes without a picture get none. `seed` and `alpha` key the draw. Raises: `DataError` where one without a
        picture is named, or nothing is left to divide the rest among.
        """
        counts = labels.bincount(minlength=classes).double()
        if self.shares is None:
            there = counts > 0
            generator = np.random.Generator(np.random.PCG64([seed % 2**64, zlib.crc32(self.name.encode())]))
            drawn = generator.dirichlet([float(self.alpha or 0)] * int(there.sum()))
            return torch.zeros_like(counts).masked_scatter_(there, torch.from_numpy(drawn))
        return _completed(self.shares, counts)


def read_label_shift(text: str, classes: Sequence[str]) -> LabelShift:
    """ "dirichlet:1.0", or shares of classes by name or number, "cat=0.5,3=0.1". Raises: `OptionError` for others."""
    try:
        if text.startswith(DIRICHLET):
            return LabelShift(alpha=float(text.removeprefix(DIRICHLET)))
        pairs = [part.rpartition("=") for part in text.split(",")]
        shares = [(_label(name.strip(), classes), float(value)) for name, _, value in pairs]
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(
            f"label shift {text!r}; allowed: dirichlet:ALPHA, or CLASS=SHARE with commas between, such as "
            "dirichlet:1.0 or 0=0.5,1=0.1."
        ) from None
    if len(dict(shares)) < len(shares):
        raise OptionError(f"label shift {text!r} names a class twice; allowed: each once.")
    return LabelShift(shares=dict(shares))


def importance(labels: Tensor, target: Tensor) -> Tensor:
    """(N,) float64: how much each picture counts, so that its class has the share that `target` (K,) gives it.

    That is the wanted share over the share there is; weighted means then estimate what holds of pictures whose classes
    come so often, each class looking as it does here. Their mean is 1. Cost: no model call.
    Source: the weights that Lipton, Wang & Smola 2018, arXiv:1802.03916, estimate; here both shares are known.
    """
    counts = labels.bincount(minlength=len(target)).double()
    return (target * len(labels) / counts.clamp_min(1))[labels]


def effective(weight: Tensor) -> float:
    """As many equally weighted pictures would tell as much: (sum of w)^2 / sum of w^2. Source: Kish 1965."""
    return float(weight.sum().square() / weight.square().sum())


def _label(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return list(classes).index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    if not name:
        raise ValueError
    raise unknown("class", name, classes)


def _completed(shares: Mapping[int, float], counts: Tensor) -> Tensor:
    rest = counts.clone()
    made = torch.zeros_like(counts)
    for label, share in shares.items():
        if share and not counts[label]:
            raise DataError(f"label shift: class {label} has no picture; allowed: classes that have. Leave it out.")
        made[label], rest[label] = share, 0.0
    left = max(0.0, 1.0 - float(made.sum()))
    if left > ROUNDING and not float(rest.sum()):
        raise DataError(f"label shift: shares add up to {1 - left:g} and no other class has pictures; make them 1.")
    return made + left * rest / rest.sum().clamp_min(1)

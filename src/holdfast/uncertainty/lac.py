"""Least ambiguous sets."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LAC:
    """All classes whose probability reaches one level: the smallest sets on average, small where a class is hard.

    Strangeness 1 - p. Source: Sadinle, Lei & Wasserman 2019, JASA 114 (arXiv:1609.00451).
    """

    name: ClassVar[str] = "lac"

    def strangeness(self, p: Tensor, u: Tensor) -> Tensor:
        """See `Rule.strangeness`; draws nothing."""
        return 1 - p

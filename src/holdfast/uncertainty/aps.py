"""Adaptive prediction sets."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.options import option


@dataclass(frozen=True, kw_only=True)
class APS:
    """Classes from the most probable down until their sum reaches one level: larger sets where pictures are hard.

    Strangeness of a class: the sum of all more probable ones plus u times its own, u uniform on [0, 1) and one a
    picture, so that coverage is met exactly. Without `randomised` u is 1: sets are larger and coverage is higher.
    Source: Romano, Sesia & Candes 2020, arXiv:2006.02544, sec. 2.
    """

    randomised: bool = option(True, "draw how much of its own probability a class has to pay")
    name: ClassVar[str] = "aps"

    def strangeness(self, p: Tensor, u: Tensor) -> Tensor:
        """See `Rule.strangeness`."""
        return climb(p, u if self.randomised else u.new_ones(u.shape))[0]


def climb(p: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """(N, K) the sum of more probable classes plus u times the own one; and (N, K) the rank of each class, from 1.

    Of classes with the same probability the first counts as the more probable one.
    """
    order = p.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(1)
    ordered = p.gather(1, order)
    before = ordered.cumsum(1) - ordered
    return (before + u[:, None] * ordered).gather(1, rank), rank + 1

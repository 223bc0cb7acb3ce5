"""A peer's attack: where it is from, what it looks for, how it is set and called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

OF_AUTOATTACK = {"linf": "Linf", "l2": "L2", "l1": "L1"}
"""Norms as AutoAttack and what comes from it call them."""

Options = Mapping[str, Any]
Call = Callable[[nn.Module, Tensor, Tensor, str, Options], Tensor]
"""From a model, pictures (N, C, H, W) in [0, 1], labels, the norm and options to what the attack returns."""


def no_options(norm: str, steps: int | None) -> Options:
    """The library's defaults."""
    return {}


def steps_as(option: str) -> Callable[[str, int | None], Options]:
    """The library's defaults, with its `option` for the steps."""

    def options(norm: str, steps: int | None) -> Options:
        return {} if steps is None else {option: steps}

    return options


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One attack of one library, in every norm it is for."""

    library: str  # as it is imported
    attack: str  # as the library calls it
    kind: str  # the algorithm, by the name it has in holdfast, or would have
    norms: tuple[str, ...]
    call: Call
    options: Callable[[str, int | None], Options] = no_options  # beyond the defaults, from the norm and the steps

    @property
    def name(self) -> str:
        """For tables and results."""
        return f"{self.library}:{self.attack}"
